package respool

import (
	"time"

	"github.com/seed-2b0d76a6/respool/internal/engine"
)

// EventKind says what an Event tells of.
type EventKind uint8

// The kinds of events.
const (
	EventDialed        EventKind = EventKind(engine.Dialed)        // a connection was opened; Duration is of dial and handshake
	EventDialFailed    EventKind = EventKind(engine.DialFailed)    // a dial failed; Err tells why
	EventClosed        EventKind = EventKind(engine.Closed)        // a connection is closed on both sides; Reason tells why, Duration its life
	EventWaitBegan     EventKind = EventKind(engine.WaitBegan)     // a caller waits for a connection
	EventWaitEnded     EventKind = EventKind(engine.WaitEnded)     // it got one, or Err tells why not; Duration is the wait
	EventLaneFailed    EventKind = EventKind(engine.LaneFailed)    // a shared connection broke; Err tells why
	EventLeakSuspected EventKind = EventKind(engine.LeakSuspected) // a Conn is held longer than LeakThreshold; Stack tells by whom
	EventReleased      EventKind = EventKind(engine.Released)      // a lent connection was given back; Duration is how long it was held

	EventPrimaryFound EventKind = EventKind(engine.PrimaryFound) // sentinels told of a new primary, at Addr; Reason tells how it was found
	EventWritesHeld   EventKind = EventKind(engine.WritesHeld)   // sentinels promote a replica: writes wait for the switch; Addr is the primary, Reason tells who promotes whom
	EventPrimaryLost  EventKind = EventKind(engine.PrimaryLost)  // no primary is known any more; Addr is the last one, Reason tells why it was given up

	EventCredentialsRenewed EventKind = EventKind(engine.CredentialsRenewed) // connections authenticated again before their credentials expire; Reason tells how many, Duration how long it took
	EventRenewalFailed      EventKind = EventKind(engine.RenewalFailed)      // credentials could not be had, or a connection could not authenticate again; Err tells why. It is tried again

	EventTLSFilesChanged EventKind = EventKind(engine.TLSFilesChanged) // a file of TLSFiles has changed and is used from the dial of Addr on
	EventTLSFilesRefused EventKind = EventKind(engine.TLSFilesRefused) // a file of TLSFiles has changed and is of no use, as Err tells: the old content stays in force
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
	case EventLaneFailed:
		return "lane failed"
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

// eventHook is Options.OnEvent for the engine.
func eventHook(fn func(Event)) func(engine.Event) {
	if fn == nil {
		return nil
	}
	return func(e engine.Event) {
		fn(Event{Kind: EventKind(e.Kind), Addr: e.Addr, Class: e.Class, Duration: e.Duration,
			Reason: e.Reason, Err: wrapError(e.Err), Stack: e.Stack})
	}
}
