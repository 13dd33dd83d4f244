// Package notify tells people of alerts: in the log, by webhooks, through
// Alertmanager, by a command. Each sink has a queue of its own, so that one that
// hangs holds up nobody else; queues are bounded, and retry. A Queue owns one
// goroutine, which its Close waits for; sinks own none.
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
	// An error made with Permanent says that trying again is of no use. A sink
	// that can fail for some of the alerts alone has to be Limited to one.
	Send(ctx context.Context, alerts []monitor.Alert) error
	// Repeat is how often alerts that fire have to be sent again; 0: never.
	Repeat() time.Duration
}

// Limited is a sink that bounds its own attempts.
type Limited interface {
	Sink
	// Limits tells how many alerts an attempt takes at most, 0 standing for any
	// number, and how long it lasts at most, 0 standing for 30 s.
	Limits() (alerts int, attempt time.Duration)
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

const (
	// attemptLimit bounds an attempt that its sink does not bound.
	attemptLimit = 30 * time.Second
	// attemptSlack lets a sink's own limit end an attempt, since its error says more.
	attemptSlack = 2 * time.Second
)

// limits tells how a queue has to bound attempts at a sink.
func limits(sink Sink, batch int) (alerts int, attempt time.Duration) {
	l, ok := sink.(Limited)
	if !ok {
		return batch, attemptLimit
	}
	alerts, attempt = l.Limits()
	if alerts <= 0 || alerts > batch {
		alerts = batch
	}
	if attempt <= 0 {
		return alerts, attemptLimit
	}
	return alerts, attempt + attemptSlack
}

// config names what is wrong with a sink's configuration.
func config(what, got, want string) error {
	return fmt.Errorf("notify: %s is %s: want %s", what, got, want)
}

var errClosed = errors.New("notify: the queue was closed before all was sent")
