package pool

import "time"

// EventKind is the kind of an Event.
type EventKind uint8

// The kinds of events.
const (
	Dialed EventKind = iota + 1
	DialFailed
	Closed
	WaitBegan
	WaitEnded
	LaneFailed
	LeakSuspected
	Released
)

// Event reports a change in a pool. Fields that do not belong to its kind are zero.
type Event struct {
	Kind     EventKind
	Addr     string
	Class    string        // class of the conn, or of the wait: lane, dedicated, subscription or idle
	Duration time.Duration // Dialed, DialFailed: of the dial; Closed: age of the conn; WaitEnded: of the wait; LeakSuspected, Released: of the lease so far
	Reason   string        // Closed: the reason
	Err      error         // DialFailed, LaneFailed; WaitEnded if the wait failed
	Stack    string        // LeakSuspected: stack of Acquire
}

// emitLocked queues an event until unlock. Listeners never run while mu is held.
func (p *Pool) emitLocked(e Event) {
	if p.cfg.OnEvent == nil {
		return
	}
	e.Addr = p.cfg.Addr
	p.later = append(p.later, func() { p.cfg.OnEvent(e) })
}

// troubleLocked queues a call of OnTrouble.
func (p *Pool) troubleLocked(err error) {
	if p.cfg.OnTrouble != nil {
		p.later = append(p.later, func() { p.cfg.OnTrouble(err) })
	}
}

// unlock releases mu and runs the queued calls. A closed pool is empty only after these calls: listeners receive
// nothing after Close.
func (p *Pool) unlock() {
	for len(p.later) > 0 {
		todo := p.later
		p.later = nil
		p.running++
		p.mu.Unlock()
		for _, fn := range todo {
			fn()
		}
		p.mu.Lock()
		p.running--
	}
	p.checkEmptyLocked()
	p.mu.Unlock()
}
