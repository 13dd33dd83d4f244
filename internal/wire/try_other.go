//go:build !unix

package wire

import "syscall"

// trier is not available on this system: a goroutine that may block writes, and reads wait.
type trier struct{ descriptor int }

func newTrier(syscall.RawConn) *trier { return nil }

func (*trier) tryRead([]byte) (int, error)  { return 0, nil }
func (*trier) tryWrite([]byte) (int, error) { return 0, nil }
