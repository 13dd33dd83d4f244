package engine

import (
	"context"
	"reflect"
	"runtime"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/pool"
)

// EventKind is the kind of an Event.
type EventKind uint8

// The kinds of events: those of pools, and those of the engine itself.
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
	BlockingDedicated  EventKind = 131
	BlockingShared     EventKind = 132
	ElementsLost       EventKind = 133
)

// Event reports a change of connections. Fields that do not belong to its kind are zero.
type Event struct {
	Kind     EventKind
	Addr     string
	Class    string // lane, dedicated, subscription or idle
	Duration time.Duration
	Reason   string
	Err      error
	Stack    string
}

// emit calls OnEvent. InCallback searches the stack for the name of this function, so it must not be inlined.
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

// emitName is the name of emit in stack traces.
var emitName = runtime.FuncForPC(reflect.ValueOf((*Engine).emit).Pointer()).Name()

// watcherName is the name of callWatcher in stack traces.
var watcherName = runtime.FuncForPC(reflect.ValueOf((*users).callWatcher).Pointer()).Name()

// InCallback reports whether its caller runs within OnEvent or a function of OnDisowned. That goroutine belongs to the
// engine and cannot wait for its own end.
func (e *Engine) InCallback() bool {
	if e.callbacks.Load()+e.users.calls.Load() == 0 {
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
		if f.Function == emitName || f.Function == watcherName {
			return true
		}
		if !more {
			return false
		}
	}
}

// Detached returns a ctx for work that continues after its caller has returned. It keeps only the deadline of ctx.
func Detached(ctx context.Context) (context.Context, context.CancelFunc) {
	if ctx.Err() != nil {
		return context.WithCancel(ctx)
	}
	if end, ok := ctx.Deadline(); ok {
		return context.WithDeadline(context.WithoutCancel(ctx), end)
	}
	return context.WithCancel(context.WithoutCancel(ctx))
}
