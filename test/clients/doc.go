// Package clients runs real client libraries straight against a Redis and through the
// gateway, and compares what they print: same program, same output. The programs stand
// in python, node and go; the tests here start the servers and compare. It is a module
// of its own, so that the libraries stay out of respool's.
package clients
