// Package cluster contains tests of the client and the gateway against real Redis Clusters.
package cluster
