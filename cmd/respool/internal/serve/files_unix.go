//go:build unix

package serve

import (
	"syscall"
)

// fileLimit is how many files this process may have open. Go has raised it to what the system lets.
func fileLimit() (n uint64, known bool) {
	var limit syscall.Rlimit
	err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit)
	return uint64(limit.Cur), err == nil
}
