package respool

import (
	"context"
	"reflect"
	"runtime"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/pool"
)

// EventKind says what an Event tells of.
type EventKind uint8

// The kinds of events.
const (
	EventDialed        EventKind = EventKind(pool.Dialed)        // a connection was opened; Duration is of dial and handshake
	EventDialFailed    EventKind = EventKind(pool.DialFailed)    // a dial failed; Err tells why
	EventClosed        EventKind = EventKind(pool.Closed)        // a connection is closed on both sides; Reason tells why, Duration its life
	EventWaitBegan     EventKind = EventKind(pool.WaitBegan)     // a caller waits for a connection
	EventWaitEnded     EventKind = EventKind(pool.WaitEnded)     // it got one, or Err tells why not; Duration is the wait
	EventLaneCondemned EventKind = EventKind(pool.LaneCondemned) // a shared connection broke; Err tells why
	EventLeakSuspected EventKind = EventKind(pool.LeakSuspected) // a Conn is held longer than LeakThreshold; Stack tells by whom
	EventReleased      EventKind = EventKind(pool.Released)      // a lent connection was given back; Duration is how long it was held

	EventPrimaryFound EventKind = iota + 100 // sentinels told of a new primary, at Addr; Reason tells how it was found
	EventWritesHeld                          // sentinels promote a replica: writes wait for the switch; Addr is the primary, Reason tells who promotes whom
	EventPrimaryLost                         // no primary is known any more; Addr is the last one, Reason tells why it was given up

	EventCredentialsRenewed // connections authenticated again before their credentials expire; Reason tells how many, Duration how long it took
	EventRenewalFailed      // credentials could not be had, or a connection could not authenticate again; Err tells why. It is tried again

	EventTLSFilesChanged // a file of TLSFiles has changed and is used from the dial of Addr on
	EventTLSFilesRefused // a file of TLSFiles has changed and is of no use, as Err tells: the old content stays in force
)

// String gives the kind in words.
func (k EventKind) String() string {
	switch k {
	case EventDialed:
		return "dialed"
	case EventDialFailed:
		return "dial failed"
	case EventClosed:
		return "closed"
	case EventWaitBegan:
		return "wait began"
	case EventWaitEnded:
		return "wait ended"
	case EventLaneCondemned:
		return "lane condemned"
	case EventLeakSuspected:
		return "leak suspected"
	case EventReleased:
		return "released"
	case EventPrimaryFound:
		return "primary found"
	case EventWritesHeld:
		return "writes held"
	case EventTLSFilesChanged:
		return "TLS files changed"
	case EventTLSFilesRefused:
		return "TLS files refused"
	case EventPrimaryLost:
		return "primary lost"
	case EventCredentialsRenewed:
		return "credentials renewed"
	case EventRenewalFailed:
		return "renewal failed"
	}
	return "unknown event"
}

// Event tells Options.OnEvent what happened to a connection. Fields that do
// not belong to its kind are zero.
type Event struct {
	Kind     EventKind
	Addr     string        // the node
	Class    string        // lane, dedicated, subscription or idle
	Duration time.Duration // of the dial, the wait, the connection's life, or the time it is held
	Reason   string        // why a connection was closed, a primary found or lost
	Err      error         // what failed
	Stack    string        // where a suspected leak was acquired
}

func (c *Client) emit(e Event) {
	if fn := c.opt.OnEvent; fn != nil {
		fn(e)
	}
}

func (c *Client) eventHook(fn func(Event)) func(pool.Event) {
	if fn == nil {
		return nil
	}
	return func(e pool.Event) {
		c.tell(Event{Kind: EventKind(e.Kind), Addr: e.Addr, Class: e.Class, Duration: e.Duration,
			Reason: e.Reason, Err: c.public(e.Err), Stack: e.Stack})
	}
}

// tell calls OnEvent. Its name on a stack is how onEvent knows that it is called from there.
//
//go:noinline
func (c *Client) tell(e Event) {
	c.telling.Add(1)
	defer c.telling.Add(-1)
	c.opt.OnEvent(e)
}

// tellName is how stacks call tell.
var tellName = runtime.FuncForPC(reflect.ValueOf((*Client).tell).Pointer()).Name()

// onEvent reports whether its caller runs within OnEvent. The goroutine is one of the client's then, and
// cannot wait for its own end.
func (c *Client) onEvent() bool {
	if c.telling.Load() == 0 {
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
		if f.Function == tellName {
			return true
		}
		if !more {
			return false
		}
	}
}

// detached is ctx for what goes on after its caller has returned: it keeps the deadline alone.
func detached(ctx context.Context) (context.Context, context.CancelFunc) {
	if ctx.Err() != nil {
		return context.WithCancel(ctx)
	}
	if end, ok := ctx.Deadline(); ok {
		return context.WithDeadline(context.WithoutCancel(ctx), end)
	}
	return context.WithCancel(context.WithoutCancel(ctx))
}
