// Package gateway lets clients of any language share a client's few connections: it
// speaks Redis' protocol to them and keeps each one's state by itself.
package gateway
