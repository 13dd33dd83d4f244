// Package notify tells people of alerts: in the log, by webhooks, through
// Alertmanager, by a command. Each sink has a queue of its own, so that one that
// hangs holds up nobody else; queues are bounded, and retry.
package notify

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed-2b0d76a6/respool/monitor"
)

// Sink tells somebody of alerts that began to fire or were resolved.
type Sink interface {
	// Name says in a few words what it is, without secrets.
	Name() string
	// Send makes one attempt, within ctx. It is called by one goroutine at a time.
	// An error made with Permanent says that trying again is of no use.
	Send(ctx context.Context, alerts []monitor.Alert) error
	// Repeat is how often alerts that fire have to be sent again; 0: never.
	Repeat() time.Duration
}

// permanent is an error after which nothing is tried again.
type permanent struct{ error }

func (p permanent) Unwrap() error { return p.error }

// Permanent marks an error as one that another attempt would not mend.
func Permanent(err error) error { return permanent{err} }

// later is an error with the time after which to try again.
type later struct {
	error
	after time.Duration
}

func (l later) Unwrap() error { return l.error }

// attemptLimit bounds an attempt that its sink does not bound.
const attemptLimit = 30 * time.Second

// config names what is wrong with a sink's configuration.
func config(what, got, want string) error {
	return fmt.Errorf("notify: %s is %s: want %s", what, got, want)
}

var errClosed = errors.New("notify: the queue was closed before it was sent")
