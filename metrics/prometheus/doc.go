// Package respoolprom exports pools and servers to Prometheus.
//
// A Pool is a collector of one client: of respool.Client.Stats, and of the
// durations that its events report. Servers is a collector of the state of a
// monitor.Sampler. docs/metrics.md lists all names; those of pools follow
// OpenTelemetry's semantic conventions for database clients.
//
// The package reads no server and serves no page: the registry belongs to the
// program. It starts no goroutines.
package respoolprom
