package respool

import (
	"errors"
	"fmt"

	"github.com/seed-2b0d76a6/respool/internal/engine"
	"github.com/seed-2b0d76a6/respool/internal/wire"
	"github.com/seed-2b0d76a6/respool/resp"
)

var (
	// ErrNil is what a conversion of a Reply gives when the server answered
	// with a null: the key, the field or the element is not there.
	ErrNil = errors.New("respool: nil reply")

	// ErrClosed is given to every call on a closed Client, and to those that
	// waited when it was closed.
	ErrClosed = engine.ErrClosed

	// ErrPoolExhausted is given when no connection was free within the wait
	// timeout, or too many callers wait already. The error's text holds the
	// pool's state. Nothing was sent.
	ErrPoolExhausted = engine.ErrPoolExhausted

	// ErrStateful refuses a command that would change or depend on the state
	// of a shared connection. The error's text says what to use instead.
	// Nothing was sent.
	ErrStateful = engine.ErrStateful

	// ErrReleased is given by a Conn that was released already.
	ErrReleased = engine.ErrReleased

	// ErrNoPrimary is given when no primary, or no replica where one is wanted, was
	// found in time. The error's text tells what each sentinel said. Nothing was
	// sent.
	ErrNoPrimary = engine.ErrNoPrimary

	// ErrConflict is given by Watch when a watched key was changed meanwhile:
	// the transaction was not executed.
	ErrConflict = errors.New("respool: a watched key changed")
)

// ServerError is an error reply: the command came through and was refused.
// Code is its first word, such as WRONGTYPE, NOAUTH or OOM.
type ServerError = resp.ServerError

// ConnError is a failure of a connection, or of the wait for one.
//
// errors.Is sees its cause: context.DeadlineExceeded and context.Canceled
// where the ctx ended, os.ErrDeadlineExceeded where a timeout of the Options
// passed, ErrClosed where the client was closed.
type ConnError struct {
	Op   string // what was being done, such as "dial" or "wait for the reply of"
	Addr string // the node
	Sent bool   // whether the command was, or may have been, sent: it may have been executed
	Err  error  // the cause
}

// Error names the operation, the node, whether the command was sent, and the cause.
func (e *ConnError) Error() string {
	return "respool: " + (&wire.Error{Op: e.Op, Addr: e.Addr, Sent: e.Sent, Err: e.Err}).Explain()
}

// Unwrap gives the cause.
func (e *ConnError) Unwrap() error { return e.Err }

// Timeout reports whether a limit in time was the cause.
func (e *ConnError) Timeout() bool {
	var t interface{ Timeout() bool }
	return errors.As(e.Err, &t) && t.Timeout()
}

// wrapError turns failures of the engine's connections into a *ConnError.
func wrapError(err error) error {
	if err == nil {
		return nil
	}
	if e, ok := err.(*engine.NotExecuted); ok {
		return notExecuted(wrapError(e.Err))
	}
	if we, ok := errors.AsType[*wire.Error](err); ok {
		return &ConnError{Op: we.Op, Addr: we.Addr, Sent: we.Sent, Err: we.Err}
	}
	return err
}

// optionError names a field, its value and what it should be.
type optionError struct {
	field, want string
	value       any
}

func (e *optionError) Error() string {
	return fmt.Sprintf("respool: option %s is %v: want %s", e.field, e.value, e.want)
}

// number is the kinds of bounded options.
type number interface {
	~int | ~int64 | ~float64
}

// checker gathers the first problem among the options.
type checker struct{ err error }

func (c *checker) fail(field string, value any, want string) {
	if c.err == nil {
		c.err = &optionError{field, want, value}
	}
}

// bounded puts the default in the place of 0 and holds a value against its
// least one.
func bounded[T number](c *checker, field string, p *T, standard, least T) {
	switch {
	case *p == 0:
		*p = standard
	case *p < least, float64(*p) != float64(*p):
		c.fail(field, *p, fmt.Sprintf("%v or more", least))
	}
}
