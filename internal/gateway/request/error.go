package request

import (
	"errors"
	"strconv"
)

// ErrAttack is the error of a request with the name POST or Host:, which is probably an HTTP request that an attacker
// made a browser send. Redis logs it and closes the connection without a reply, also to earlier requests.
var ErrAttack = errors.New("request: the command is POST or Host:, so the client speaks HTTP")

// ErrTooLarge is the error of a request that exceeds Limits.Total, or announces so many bytes. Redis closes such a
// connection without a reply.
var ErrTooLarge = errors.New("request: larger than the limit")

// ProtocolError is a violation of the protocol by a client. Redis sends Reply and closes the connection.
type ProtocolError struct {
	// Reason is the text of Redis. It may contain one unescaped byte of the input.
	Reason string
}

// Error returns the escaped reason.
func (e *ProtocolError) Error() string {
	quoted := strconv.Quote(e.Reason)
	return "request: protocol error: " + quoted[1:len(quoted)-1]
}

// Reply returns the text of the error reply, without the leading "-" and the CRLF.
func (e *ProtocolError) Reply() string { return "ERR Protocol error: " + e.Reason }
