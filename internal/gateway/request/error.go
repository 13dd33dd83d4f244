package request

import (
	"errors"
	"strconv"
)

// ErrAttack says that a request's name is POST or Host:, so that it was most likely a web
// browser that was made to send it. Redis closes such a connection without a reply, not even those
// that earlier requests are still owed, and notes it in its log.
var ErrAttack = errors.New("request: POST or Host: as a name: HTTP where the protocol of Redis was expected")

// ErrTooLarge says that a request passes Limits.Total, or claims to. Redis closes a connection
// that has sent it too much without a reply.
var ErrTooLarge = errors.New("request: larger than the limit")

// ProtocolError says that a client broke the protocol. Redis answers with Reply and closes
// the connection.
type ProtocolError struct {
	// Reason is Redis' own text. It may hold one byte of the input, which is not made printable.
	Reason string
}

// Error gives the reason, printable.
func (e *ProtocolError) Error() string {
	quoted := strconv.Quote(e.Reason)
	return "request: protocol error: " + quoted[1:len(quoted)-1]
}

// Reply is the text of the error reply, to stand between - and CRLF.
func (e *ProtocolError) Reply() string { return "ERR Protocol error: " + e.Reason }
