package respool

import (
	"context"
	"errors"
	"fmt"

	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/pool"
	"github.com/seed-2b0d76a6/respool/internal/pubsub"
	"github.com/seed-2b0d76a6/respool/internal/wire"
	"github.com/seed-2b0d76a6/respool/resp"
)

var (
	// ErrNil is what a conversion of a Reply gives when the server answered
	// with a null: the key, the field or the element is not there.
	ErrNil = errors.New("respool: nil reply")

	// ErrClosed is given to every call on a closed Client, and to those that
	// waited when it was closed.
	ErrClosed = errors.New("respool: the client is closed")

	// ErrPoolExhausted is given when no connection was free within the wait
	// timeout, or too many callers wait already. The error's text holds the
	// pool's state. Nothing was sent.
	ErrPoolExhausted = errors.New("respool: no connection was free")

	// ErrStateful refuses a command that would change or depend on the state
	// of a shared connection. The error's text says what to use instead.
	// Nothing was sent.
	ErrStateful = errors.New("respool: command needs a connection of its own")

	// ErrReleased is given by a Conn that was released already.
	ErrReleased = errors.New("respool: the connection was released")

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
	sent := "the command was not sent"
	if e.Sent {
		sent = "the command was sent and may have been executed"
	}
	return fmt.Sprintf("respool: %s %s: %v (%s)", e.Op, e.Addr, e.Err, sent)
}

// Unwrap gives the cause.
func (e *ConnError) Unwrap() error { return e.Err }

// Timeout reports whether a limit in time was the cause.
func (e *ConnError) Timeout() bool {
	var t interface{ Timeout() bool }
	return errors.As(e.Err, &t) && t.Timeout()
}

// public turns the engine's errors into those of the package.
func (c *Client) public(err error) error {
	if err == nil {
		return nil
	}
	var we *wire.Error
	var ae *resp.ArgumentError
	switch {
	case errors.As(err, &we):
		return &ConnError{Op: we.Op, Addr: we.Addr, Sent: we.Sent, Err: c.publicCause(we.Err)}
	case errors.As(err, &ae):
		return fmt.Errorf("respool: %w", err)
	default:
		return c.publicCause(err)
	}
}

func (c *Client) publicCause(err error) error {
	switch {
	case errors.Is(err, pool.ErrClosed), errors.Is(err, wire.ErrClosed):
		return ErrClosed
	case errors.Is(err, pool.ErrExhausted):
		return &exhausted{err}
	case errors.Is(err, pubsub.ErrClosed):
		return ErrSubscriptionClosed
	case errors.Is(err, lane.ErrDraining):
		return fmt.Errorf("respool: every lane drained before the command could be sent: %w", err)
	}
	return err
}

// exhausted keeps the text with the pool's state and is an ErrPoolExhausted.
type exhausted struct{ err error }

func (e *exhausted) Error() string        { return "respool: " + e.err.Error() }
func (e *exhausted) Is(target error) bool { return target == ErrPoolExhausted }
func (e *exhausted) Timeout() bool        { return true }

// ctxEnded reports whether err tells of the end of a ctx.
func ctxEnded(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}
