package resp

import (
	"errors"
	"fmt"
)

// ErrTooLarge is what errors.Is finds when a frame is, or claims to be,
// larger than the limit. The error itself is a *TooLargeError.
var ErrTooLarge = errors.New("resp: frame too large")

// TooLargeError says that a frame passes Scanner.Limit. Nothing was
// allocated for it.
type TooLargeError struct {
	Claimed int64 // bytes that the frame has at least, by what it claims
	Limit   int64 // bytes allowed
}

// Error gives both sizes.
func (e *TooLargeError) Error() string {
	return fmt.Sprintf("resp: frame too large: at least %d bytes, limit %d", e.Claimed, e.Limit)
}

// Unwrap gives ErrTooLarge.
func (e *TooLargeError) Unwrap() error { return ErrTooLarge }

// ProtocolError says that bytes are no RESP. Where the next frame starts
// is unknown, so that nothing more can be read from the stream.
type ProtocolError struct {
	Reason string // what was found and what was expected, with few bytes of the input
}

// Error gives the reason.
func (e *ProtocolError) Error() string { return "resp: protocol error: " + e.Reason }

// ArgumentError says that an argument of a command cannot be sent as it is.
type ArgumentError struct {
	Index int    // place in args, from 0; 0 when there are none
	Type  string // the argument's Go type; "nil" for nil, empty when there are no arguments
}

// Error says what to pass instead.
func (e *ArgumentError) Error() string {
	switch e.Type {
	case "":
		return "resp: command has no arguments: want at least its name"
	case "time.Duration", "time.Time":
		return fmt.Sprintf("argument %d has type %s: want seconds or milliseconds as a number", e.Index, e.Type)
	}
	return fmt.Sprintf("argument %d has type %s: want string, []byte, integer, float or bool", e.Index, e.Type)
}
