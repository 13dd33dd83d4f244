package engine

import (
	"context"
	"reflect"
	"runtime"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/pool"
)

// EventKind says what an Event reports.
type EventKind uint8

// The kinds of events: those of pools, and the engine's own.
const (
	Dialed        = EventKind(pool.Dialed)
	DialFailed    = EventKind(pool.DialFailed)
	Closed        = EventKind(pool.Closed)
	WaitBegan     = EventKind(pool.WaitBegan)
	WaitEnded     = EventKind(pool.WaitEnded)
	LaneFailed    = EventKind(pool.LaneFailed)
	LeakSuspected = EventKind(pool.LeakSuspected)
	Released      = EventKind(pool.Released)

	PrimaryFound       EventKind = 101
	WritesHeld         EventKind = 102
	PrimaryLost        EventKind = 103
	CredentialsRenewed EventKind = 111
	RenewalFailed      EventKind = 112
	TLSFilesChanged    EventKind = 121
	TLSFilesRefused    EventKind = 122
)

// Event is something that happened to connections. Fields that do not belong to its kind are zero.
type Event struct {
	Kind     EventKind
	Addr     string
	Class    string // lane, dedicated, subscription or idle
	Duration time.Duration
	Reason   string
	Err      error
	Stack    string
}

// emit calls OnEvent. Its name on a stack is how InCallback knows that it is called from there.
//
//go:noinline
func (e *Engine) emit(event Event) {
	if e.cfg.OnEvent == nil {
		return
	}
	e.callbacks.Add(1)
	defer e.callbacks.Add(-1)
	e.cfg.OnEvent(event)
}

// emitName is how stacks call emit.
var emitName = runtime.FuncForPC(reflect.ValueOf((*Engine).emit).Pointer()).Name()

// InCallback reports whether its caller runs within OnEvent. The goroutine is one of the engine's then, and
// cannot wait for its own end.
func (e *Engine) InCallback() bool {
	if e.callbacks.Load() == 0 {
		return false
	}
	pcs := make([]uintptr, 64)
	n := runtime.Callers(2, pcs)
	for n == len(pcs) {
		pcs = make([]uintptr, 2*len(pcs))
		n = runtime.Callers(2, pcs)
	}
	for frames := runtime.CallersFrames(pcs[:n]); ; {
		f, more := frames.Next()
		if f.Function == emitName {
			return true
		}
		if !more {
			return false
		}
	}
}

// Detached is ctx for work that goes on after its caller has returned: it keeps the deadline alone.
func Detached(ctx context.Context) (context.Context, context.CancelFunc) {
	if ctx.Err() != nil {
		return context.WithCancel(ctx)
	}
	if end, ok := ctx.Deadline(); ok {
		return context.WithDeadline(context.WithoutCancel(ctx), end)
	}
	return context.WithCancel(context.WithoutCancel(ctx))
}
