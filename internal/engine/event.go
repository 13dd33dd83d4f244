package engine

import (
	"context"
	"fmt"
	"reflect"
	"runtime"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/pool"
	"github.com/seed-2b0d76a6/respool/internal/renewal"
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

	ClusterNodesChanged EventKind = 141 // other primaries serve the slots; Reason is how that was found
	SlotsLost           EventKind = 142 // slots of a cluster have no owner, or no node returns a map; Reason says why
	SlotsFound          EventKind = 143 // all slots have an owner again
	TotalTooLow         EventKind = 144 // there are more primaries than ClusterConfig.MaxTotal; Err says so
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

// emit calls OnEvent.
func (e *Engine) emit(event Event) {
	if e.cfg.OnEvent != nil {
		e.call(func() { e.cfg.OnEvent(event) })
	}
}

// call calls a function of the engine's user. InCallback searches the stack for the name of this method, so it must not
// be inlined.
//
//go:noinline
func (e *Engine) call(fn func()) {
	e.callbacks.Add(1)
	defer e.callbacks.Add(-1)
	fn()
}

// events emits the events that connections to nodes and connections to sentinels share. It implements
// sentinels.Observer.
type events struct{ e *Engine }

// FilesChanged emits an event for changed TLS files.
func (o events) FilesChanged(addr string, err error) {
	if err != nil {
		o.e.emit(Event{Kind: TLSFilesRefused, Addr: addr, Err: fmt.Errorf("respool: the old certificates stay in force: %w", err)})
		return
	}
	o.e.emit(Event{Kind: TLSFilesChanged, Addr: addr})
}

// Renewed emits an event for a renewal of credentials.
func (o events) Renewed(r renewal.Event) {
	if r.Err != nil {
		o.e.emit(Event{Kind: RenewalFailed, Addr: o.e.place(), Duration: r.Duration, Err: r.Err})
		return
	}
	o.e.emit(Event{Kind: CredentialsRenewed, Addr: o.e.place(), Duration: r.Duration, Reason: fmt.Sprintf("%d connections", r.Renewed)})
}

// callName is the name of call in stack traces.
var callName = runtime.FuncForPC(reflect.ValueOf((*Engine).call).Pointer()).Name()

// InCallback reports whether its caller runs within OnEvent or a function of OnDisowned. That goroutine belongs to the
// engine and cannot wait for its own end.
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
		if f.Function == callName {
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
