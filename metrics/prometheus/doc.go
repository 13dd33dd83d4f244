// Package respoolprom exports pools and servers to Prometheus.
//
// A Pool is a collector of one client: of respool.Client.Stats, and of the durations of its events.
// Servers is a collector of the state of a monitor.Sampler. docs/metrics.md lists all names. Those
// of pools follow OpenTelemetry's semantic conventions for database clients.
//
// The package queries no server and serves no page: the program owns the registry. It starts no
// goroutines.
package respoolprom
