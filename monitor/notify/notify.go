// Package notify delivers alerts to sinks: a log, webhooks, Alertmanager or a command. Each sink
// has its own queue, so a sink that hangs delays no other. Queues are bounded and retry. The
// package does not decide which alerts exist; package monitor does. A Queue owns one goroutine, and
// its Close waits for it. Sinks own none.
package notify

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed-2b0d76a6/respool/monitor"
)

// Sink delivers alerts that began to fire or were resolved.
type Sink interface {
	// Name describes the sink in a few words, without secrets.
	Name() string
	// Send makes one attempt, within ctx. One goroutine calls it at a time. If a retry cannot
	// succeed, it returns an error made with Permanent. A sink that can fail for some of the alerts
	// only must implement Limited, with one alert for each attempt.
	Send(ctx context.Context, alerts []monitor.Alert) error
	// Repeat returns the interval at which firing alerts are sent again; 0: never.
	Repeat() time.Duration
}

// Limited is a sink that limits its own attempts.
type Limited interface {
	Sink
	// Limits returns the maximum number of alerts of an attempt, 0 for any number, and its maximum
	// duration, 0 for 30 s.
	Limits() (alerts int, attempt time.Duration)
}

// permanent is an error that ends the retries.
type permanent struct{ error }

func (p permanent) Unwrap() error { return p.error }

// Permanent marks an error that a retry cannot fix.
func Permanent(err error) error { return permanent{err} }

// later is an error with the delay of the next attempt.
type later struct {
	error
	after time.Duration
}

func (l later) Unwrap() error { return l.error }

const (
	// attemptLimit limits an attempt of a sink without its own limit.
	attemptLimit = 30 * time.Second
	// attemptSlack lets the sink's own limit end an attempt first, because its error is more
	// specific.
	attemptSlack = 2 * time.Second
)

// limits returns the limits of an attempt for a sink.
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

// config returns an error about a sink's configuration.
func config(what, got, want string) error {
	return fmt.Errorf("notify: %s is %s: want %s", what, got, want)
}

var errClosed = errors.New("notify: the queue was closed before all alerts were sent")
