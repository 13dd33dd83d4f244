// Package metrics shows pools and servers to Prometheus and OpenTelemetry.
//
// A Pool is the view of one client: what respool.Client.Stats tells, and the
// times that only its events tell. It is a prometheus.Collector, and
// RegisterOTel makes instruments of it. Both carry the names of OpenTelemetry's
// semantic conventions for database clients, and some more under respool.pool.
// Servers is the view of what a monitor.Sampler knows, and a
// prometheus.Collector.
//
// The package asks no server, serves no page and starts no goroutine: the
// registry and the reader belong to the program. docs/metrics.md lists all names.
package metrics
