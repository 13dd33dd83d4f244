package engine

import (
	"errors"
	"fmt"

	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/pool"
	"github.com/seed-2b0d76a6/respool/internal/pubsub"
	"github.com/seed-2b0d76a6/respool/internal/wire"
	"github.com/seed-2b0d76a6/respool/resp"
)

// The errors of an engine, in addition to *wire.Error and *resp.ServerError. The public client documents them.
var (
	ErrClosed             = errors.New("respool: the client is closed")
	ErrPoolExhausted      = errors.New("respool: no connection was free")
	ErrTooManyBlocked     = errors.New("respool: max_blocked blocking commands wait already: raise MaxBlocked, or block in fewer callers")
	ErrNoPrimary          = errors.New("respool: no primary is known")
	ErrStateful           = errors.New("respool: command needs a connection of its own")
	ErrReleased           = errors.New("respool: the connection was released")
	ErrSubscriptionClosed = errors.New("respool: the subscription is closed")

	errNoArguments = errors.New("respool: empty command: want a name and its arguments")
	errBadName     = errors.New("respool: argument 0 is no string: want the command's name")
)

// notSent returns the error of a command that was not sent, because an earlier one on its connection failed with err.
func notSent(err error) error {
	if we, ok := errors.AsType[*wire.Error](err); ok && we.Sent {
		unsent := *we
		unsent.Sent = false
		return &unsent
	}
	return err
}

// NotExecuted is the error of a transaction whose commands were not executed.
type NotExecuted struct{ Err error }

func (e *NotExecuted) Error() string {
	return "respool: the transaction was not executed: " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *NotExecuted) Unwrap() error { return e.Err }

// WrapError converts errors of pools, lanes and hubs to errors of the engine. A failed connection is a *wire.Error.
// Its cause is one of the engine's errors if one applies.
func WrapError(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := err.(*NotExecuted); ok {
		return err
	}
	if we, ok := errors.AsType[*wire.Error](err); ok {
		return &wire.Error{Op: we.Op, Addr: we.Addr, Sent: we.Sent, Err: publicCause(we.Err)}
	}
	if _, ok := errors.AsType[*resp.ArgumentError](err); ok {
		return fmt.Errorf("respool: %w", err)
	}
	return publicCause(err)
}

func publicCause(err error) error {
	switch {
	case errors.Is(err, ErrClosed):
		return err
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

// exhausted matches ErrPoolExhausted. Its text includes the state of the pool.
type exhausted struct{ err error }

func (e *exhausted) Error() string        { return "respool: " + e.err.Error() }
func (e *exhausted) Is(target error) bool { return target == ErrPoolExhausted }
func (e *exhausted) Timeout() bool        { return true }

// errorOf returns the error in a reply; nil for other replies.
func errorOf(frame []byte) error {
	if se := resp.ErrorIn(frame); se != nil {
		return se
	}
	return nil
}

// totalError is why a limit does not suffice for a number of primaries.
type totalError struct {
	primaries, total int
	role             Role
}

// tooLow reports whether the limit is too low.
func (e totalError) tooLow() bool { return e.total > 0 && e.total < e.least() }

// least returns the lowest limit that suffices.
func (e totalError) least() int {
	if e.role == Replica {
		return e.primaries + 1
	}
	return e.primaries
}

func (e totalError) Error() string {
	more := ""
	if e.role == Replica {
		more = ", and the replicas one at least"
	}
	return fmt.Sprintf("%d primaries need a connection each%s, and max_connections_total is %d: set it to %d or more", e.primaries, more, e.total, e.least())
}
