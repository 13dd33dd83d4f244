package lane

import (
	"errors"
	"strconv"

	"github.com/seed-2b0d76a6/respool/resp"
)

// PushError is the cause when a lane fails because a push is malformed or too large. It concerns no command.
type PushError struct {
	Name string // its first element, such as message or invalidate; empty if that is not a plain word
	Err  error
}

func (e *PushError) Error() string {
	name := "a push"
	if e.Name != "" {
		name = "the push " + strconv.Quote(e.Name)
	}
	return "the server sent out of band " + name + ", which can't be taken: " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *PushError) Unwrap() error { return e.Err }

// blame wraps the scanner's error in a PushError if the frame is a push.
func (in *input) blame(err error) error {
	start := in.buf[in.r:in.w]
	if in.big != nil {
		start = in.big
	}
	if in.scanner.Kind() != resp.Push && (len(start) == 0 || resp.Kind(start[0]) != resp.Push) {
		return err
	}
	return &PushError{Name: pushName(start), Err: err}
}

// longestName is the maximum length of a push name in an error.
const longestName = 32

// pushName returns the first element of a push if it is a plain word. Other elements may be user data.
func pushName(b []byte) string {
	head, err := resp.ReadHead(b)
	if err != nil || head.Kind != resp.Push {
		return ""
	}
	first, err := resp.ReadHead(b[head.Size:])
	if err != nil || len(first.Str) > longestName {
		return ""
	}
	for _, c := range first.Str {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != '-' && c != '_' {
			return ""
		}
	}
	return string(first.Str)
}

// CollateralError is the error of the other requests on a connection that failed because of a push or of one
// command's reply. It does not unwrap to that cause.
type CollateralError struct{ Cause error }

func (e *CollateralError) Error() string {
	if isPush(e.Cause) {
		return "the connection was condemned: " + e.Cause.Error()
	}
	return "the connection was condemned for the reply to another command: " + e.Cause.Error()
}

// blamed returns the error for a request in the queue. A bad reply concerns only the first request, a bad push none.
func blamed(cause error, first bool) error {
	if BadReply(cause) && (!first || isPush(cause)) {
		return &CollateralError{cause}
	}
	return cause
}

func isPush(err error) bool {
	var pe *PushError
	return errors.As(err, &pe)
}

// BadReply reports whether a malformed or too large reply broke the connection. A retry would receive the same reply.
func BadReply(err error) bool {
	var pe *resp.ProtocolError
	return errors.As(err, &pe) || errors.Is(err, resp.ErrTooLarge)
}
