package wire

import (
	"errors"
	"fmt"
	"os"
)

// OpHandshake is the Op of an Error if the connection opened and its handshake failed.
const OpHandshake = "handshake with"

// Error is a failed operation on a connection.
type Error struct {
	Op   string // the operation and its preposition, such as dial, read or "handshake with"
	Addr string
	Sent bool // bytes of the command were, or may have been, written
	Err  error
}

// Error states the operation, the address, whether the command was sent, and the cause.
func (e *Error) Error() string {
	if e.Sent {
		return fmt.Sprintf("%s %s (command sent): %v", e.Op, e.Addr, e.Err)
	}
	return fmt.Sprintf("%s %s: %v", e.Op, e.Addr, e.Err)
}

// Explain is Error in words for users, who must know whether the command may have been executed.
func (e *Error) Explain() string {
	sent := "the command was not sent"
	if e.Sent {
		sent = "the command was sent and may have been executed"
	}
	return fmt.Sprintf("%s %s: %v (%s)", e.Op, e.Addr, e.Err, sent)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Timeout reports whether the cause is a timeout.
func (e *Error) Timeout() bool {
	var t interface{ Timeout() bool }
	return errors.As(e.Err, &t) && t.Timeout()
}

// ErrClosed is the cause if this side closed the connection on purpose.
var ErrClosed = errors.New("closed")

// TimeoutError is an exceeded time limit. It matches os.ErrDeadlineExceeded.
type TimeoutError struct{ Text string }

func (e *TimeoutError) Error() string { return e.Text }

// Timeout is always true.
func (e *TimeoutError) Timeout() bool { return true }

// Is matches os.ErrDeadlineExceeded.
func (e *TimeoutError) Is(target error) bool { return target == os.ErrDeadlineExceeded }
