//go:build !unix

package serve

// fileLimit is unknown on this system.
func fileLimit() (n uint64, known bool) { return 0, false }
