package respool

import (
	"errors"
	"fmt"

	"github.com/seed-2b0d76a6/respool/internal/engine"
	"github.com/seed-2b0d76a6/respool/internal/wire"
	"github.com/seed-2b0d76a6/respool/resp"
)

var (
	// ErrNil means that the server answered with a null: the key, the field or the element does not
	// exist. The conversions of a Reply return it.
	ErrNil = errors.New("respool: nil reply")

	// ErrClosed means that the client is closed. Calls on a closed client return it, and so do
	// calls that waited when it was closed.
	ErrClosed = engine.ErrClosed

	// ErrPoolExhausted means that no connection was free within the wait timeout, or that
	// MaxWaiters callers are already waiting. The text of the error contains the state of the pool.
	// Nothing was sent.
	ErrPoolExhausted = engine.ErrPoolExhausted

	// ErrTooManyBlocked means that MaxBlocked blocking commands wait already. Nothing was sent.
	ErrTooManyBlocked = engine.ErrTooManyBlocked

	// ErrStateful means that the command would change, or depend on, the state of a shared
	// connection. The text of the error names the method to use instead. Nothing was sent.
	ErrStateful = engine.ErrStateful

	// ErrReleased means that the Conn was released already.
	ErrReleased = engine.ErrReleased

	// ErrNoPrimary means that the client found no primary, or no replica if the role needs one, in
	// time. The text of the error contains the answer of each sentinel. Nothing was sent.
	ErrNoPrimary = engine.ErrNoPrimary

	// ErrConflict means that a watched key changed before EXEC. The server did not execute the
	// transaction.
	ErrConflict = errors.New("respool: a watched key changed")
)

// ServerError is an error reply: the server received the command and refused it. Code is its first
// word, such as WRONGTYPE, NOAUTH or OOM.
type ServerError = resp.ServerError

// ConnError reports a failure of a connection, or of the wait for one.
//
// errors.Is finds its cause: context.DeadlineExceeded or context.Canceled if ctx ended,
// os.ErrDeadlineExceeded if a timeout of the Options passed, ErrClosed if the client was closed.
type ConnError struct {
	Op   string // the operation, such as "dial" or "wait for the reply of"
	Addr string // the node
	Sent bool   // the command was, or may have been, sent: the server may have executed it
	Err  error  // the cause
}

// Error returns the operation, the node, whether the command was sent, and the cause.
func (e *ConnError) Error() string {
	return "respool: " + (&wire.Error{Op: e.Op, Addr: e.Addr, Sent: e.Sent, Err: e.Err}).Explain()
}

// Unwrap returns the cause.
func (e *ConnError) Unwrap() error { return e.Err }

// Timeout reports whether a timeout or a deadline was the cause.
func (e *ConnError) Timeout() bool {
	var t interface{ Timeout() bool }
	return errors.As(e.Err, &t) && t.Timeout()
}

// wrapError converts connection failures of the engine to *ConnError.
func wrapError(err error) error {
	if err == nil {
		return nil
	}
	if e, ok := err.(*engine.NotExecuted); ok {
		return notExecuted(wrapError(e.Err))
	}
	for cause := err; cause != nil; cause = errors.Unwrap(cause) { // errors with several causes are reports, and stay
		if we, ok := cause.(*wire.Error); ok {
			return &ConnError{Op: we.Op, Addr: we.Addr, Sent: we.Sent, Err: we.Err}
		}
	}
	return err
}

// optionError reports a field, its value, and the values that it accepts.
type optionError struct {
	field, want string
	value       any
}

func (e *optionError) Error() string {
	return fmt.Sprintf("respool: option %s is %v: want %s", e.field, e.value, e.want)
}

// number contains the types of options with a minimum.
type number interface {
	~int | ~int64 | ~float64
}

// checker keeps the first problem of the options.
type checker struct{ err error }

func (c *checker) fail(field string, value any, want string) {
	if c.err == nil {
		c.err = &optionError{field, want, value}
	}
}

// bounded replaces 0 by the default and checks the minimum.
func bounded[T number](c *checker, field string, p *T, standard, least T) {
	switch {
	case *p == 0:
		*p = standard
	case *p < least, float64(*p) != float64(*p):
		c.fail(field, *p, fmt.Sprintf("%v or more", least))
	}
}
