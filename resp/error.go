package resp

import (
	"errors"
	"fmt"
)

// ErrTooLarge means that a frame exceeds the limit, by its bytes or by its claimed length. Match it
// with errors.Is. The error itself is a *TooLargeError.
var ErrTooLarge = errors.New("resp: frame too large")

// TooLargeError reports a frame that exceeds Scanner.Limit. Nothing was allocated for it.
type TooLargeError struct {
	Claimed int64 // minimum size of the frame in bytes, by its claimed lengths
	Limit   int64 // maximum size in bytes
}

// Error returns both sizes.
func (e *TooLargeError) Error() string {
	return fmt.Sprintf("resp: frame too large: at least %d bytes, limit %d", e.Claimed, e.Limit)
}

// Unwrap returns ErrTooLarge.
func (e *TooLargeError) Unwrap() error { return ErrTooLarge }

// ProtocolError reports bytes that are not RESP. The start of the next frame is unknown, so nothing
// more can be read from the stream.
type ProtocolError struct {
	Reason string // the found and the expected bytes, with a few bytes of the input
}

// Error returns the reason.
func (e *ProtocolError) Error() string { return "resp: protocol error: " + e.Reason }

// ArgumentError reports an argument of a command that has no encoding.
type ArgumentError struct {
	Index int    // index in args, from 0; 0 without arguments
	Type  string // the argument's Go type; "nil" for nil, empty without arguments
}

// Error returns the argument's index and type, and the accepted types.
func (e *ArgumentError) Error() string {
	switch e.Type {
	case "":
		return "resp: command has no arguments: want at least its name"
	case "time.Duration", "time.Time":
		return fmt.Sprintf("argument %d has type %s: want seconds or milliseconds as a number", e.Index, e.Type)
	}
	return fmt.Sprintf("argument %d has type %s: want string, []byte, integer, float or bool", e.Index, e.Type)
}
