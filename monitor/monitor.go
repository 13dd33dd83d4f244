// Package monitor finds problems of a server's connections. It parses INFO and CLIENT LIST of Redis
// 6.2 and later and of Valkey. Fields differ between versions, so the parsers skip missing and
// unknown ones, and fail only on the error of a reader. Diagnose compares snapshots, a Sampler
// takes them at intervals, and a Judge converts findings to alerts. The package is not for the
// control of clients. Run of a Sampler owns the goroutines of the package and waits for them.
package monitor
