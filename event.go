package respool

import (
	"time"

	"github.com/seed-2b0d76a6/respool/internal/engine"
)

// EventKind is the kind of an Event.
type EventKind uint8

// The kinds of events.
const (
	EventDialed        EventKind = EventKind(engine.Dialed)        // a connection was opened; Duration covers dial and handshake
	EventDialFailed    EventKind = EventKind(engine.DialFailed)    // a dial failed; Err is the cause
	EventClosed        EventKind = EventKind(engine.Closed)        // a connection is closed on both sides; Reason is the cause, Duration its lifetime
	EventWaitBegan     EventKind = EventKind(engine.WaitBegan)     // a caller waits for a connection
	EventWaitEnded     EventKind = EventKind(engine.WaitEnded)     // the wait ended; Err is nil if the caller got a connection; Duration is the wait
	EventLaneFailed    EventKind = EventKind(engine.LaneFailed)    // a lane failed; Err is the cause
	EventLeakSuspected EventKind = EventKind(engine.LeakSuspected) // a caller holds a Conn for longer than LeakThreshold; Stack is the stack that acquired it
	EventReleased      EventKind = EventKind(engine.Released)      // a dedicated connection was released; Duration is the time for which it was held

	EventPrimaryFound EventKind = EventKind(engine.PrimaryFound) // sentinels reported a new primary, at Addr; Reason is how it was found
	EventWritesHeld   EventKind = EventKind(engine.WritesHeld)   // sentinels promote a replica, and writes wait for the switch; Addr is the primary, Reason names the sentinel and the replica
	EventPrimaryLost  EventKind = EventKind(engine.PrimaryLost)  // no primary is known any more; Addr is the last one, Reason is why it was given up

	EventCredentialsRenewed EventKind = EventKind(engine.CredentialsRenewed) // connections authenticated again before their credentials expired; Reason is their number, Duration the time it took
	EventRenewalFailed      EventKind = EventKind(engine.RenewalFailed)      // the provider returned no credentials, or a connection failed to authenticate again; Err is the cause; the client retries

	EventTLSFilesChanged EventKind = EventKind(engine.TLSFilesChanged) // a file of TLSFiles changed; the dial of Addr is the first to use it
	EventTLSFilesRefused EventKind = EventKind(engine.TLSFilesRefused) // a file of TLSFiles changed and is not usable; Err is the cause; the old content stays in use

	EventBlockingDedicated   EventKind = EventKind(engine.BlockingDedicated)   // the server does not report changes of keys, so each blocking command holds a connection; Err is the cause
	EventBlockingShared      EventKind = EventKind(engine.BlockingShared)      // the server reports changes of keys again
	EventClusterNodesChanged EventKind = EventKind(engine.ClusterNodesChanged) // other nodes serve the slots of the cluster; Reason is how the client found that
	EventSlotsLost           EventKind = EventKind(engine.SlotsLost)           // slots of the cluster have no node, or no node returns a map of them; Reason and Err say why
	EventSlotsFound          EventKind = EventKind(engine.SlotsFound)          // all slots of the cluster have a node again
	EventTotalTooLow         EventKind = EventKind(engine.TotalTooLow)         // the cluster has more primaries than MaxConnectionsTotal, so they take turns; Err says what to set

	EventElementsLost EventKind = EventKind(engine.ElementsLost) // elements that no caller took any more could not return to their key; Reason names the key, Err is the cause
)

// String returns the kind in words.
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
	case EventClusterNodesChanged:
		return "cluster nodes changed"
	case EventSlotsLost:
		return "slots lost"
	case EventSlotsFound:
		return "slots found"
	case EventTotalTooLow:
		return "total too low"
	case EventWritesHeld:
		return "writes held"
	case EventTLSFilesChanged:
		return "TLS files changed"
	case EventTLSFilesRefused:
		return "TLS files refused"
	case EventBlockingDedicated:
		return "blocking commands use dedicated connections"
	case EventBlockingShared:
		return "blocking commands share connections"
	case EventElementsLost:
		return "elements lost"
	case EventPrimaryLost:
		return "primary lost"
	case EventCredentialsRenewed:
		return "credentials renewed"
	case EventRenewalFailed:
		return "renewal failed"
	}
	return "unknown event"
}

// Event reports a change of a connection to Options.OnEvent. Fields that do not belong to its kind
// are zero.
type Event struct {
	Kind     EventKind
	Addr     string        // the node
	Class    string        // lane, dedicated, subscription or idle
	Duration time.Duration // of the dial, the wait, the connection's lifetime, or the lease
	Reason   string        // the cause of a close, or of a found or lost primary
	Err      error         // the cause of a failure
	Stack    string        // the stack that acquired a suspected leak
}

// eventHook converts Options.OnEvent.
func eventHook(fn func(Event)) func(engine.Event) {
	if fn == nil {
		return nil
	}
	return func(e engine.Event) {
		fn(Event{Kind: EventKind(e.Kind), Addr: e.Addr, Class: e.Class, Duration: e.Duration,
			Reason: e.Reason, Err: wrapError(e.Err), Stack: e.Stack})
	}
}
