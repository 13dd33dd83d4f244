package lane

import (
	"errors"
	"strconv"

	"github.com/seed-2b0d76a6/respool/resp"
)

// PushError condemns a lane for a push that is malformed or too large. It is no reply: no
// command is to blame.
type PushError struct {
	Name string // its first element, such as message or invalidate; empty where that is no plain word
	Err  error
}

func (e *PushError) Error() string {
	name := "a push"
	if e.Name != "" {
		name = "the push " + strconv.Quote(e.Name)
	}
	return "the server sent out of band " + name + ", which can't be taken: " + e.Err.Error()
}

// Unwrap gives what is wrong with it.
func (e *PushError) Unwrap() error { return e.Err }

// blame names the push in the error of the scanner, where it is one.
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

// longestName is the longest word that is taken for the name of a push.
const longestName = 32

// pushName reads the first element of a push, if it is a plain word: others may be anybody's data.
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

// CollateralError is given to those whose connection was condemned for a push, or for the
// reply to somebody else's command. It does not unwrap to that cause.
type CollateralError struct{ Cause error }

func (e *CollateralError) Error() string {
	if isPush(e.Cause) {
		return "the connection was condemned: " + e.Cause.Error()
	}
	return "the connection was condemned for the reply to another command: " + e.Cause.Error()
}

// blamed is what a request in the queue gets: a bad reply concerns the first alone, a bad push
// nobody.
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

// BadReply reports whether a reply itself is what broke the connection: it is
// malformed or too large, and asking again would bring it again.
func BadReply(err error) bool {
	var pe *resp.ProtocolError
	return errors.As(err, &pe) || errors.Is(err, resp.ErrTooLarge)
}
