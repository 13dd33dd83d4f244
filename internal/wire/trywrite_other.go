//go:build !unix

package wire

import "syscall"

// tryWriter is not to be had here: writes go through a goroutine that may block.
type tryWriter struct{}

func newTryWriter(syscall.RawConn) *tryWriter { return nil }

func (*tryWriter) write([]byte) (int, error) { return 0, nil }
