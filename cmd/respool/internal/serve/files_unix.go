//go:build unix

package serve

import (
	"syscall"
)

// fileLimit returns how many files this process may open. Go has already raised the limit to the
// maximum that the system allows.
func fileLimit() (n uint64, known bool) {
	var limit syscall.Rlimit
	err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit)
	return uint64(limit.Cur), err == nil
}
