package pool

import "time"

// EventKind says what happened.
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

// Event is something that happened in a pool. Fields that do not belong to
// its kind are zero.
type Event struct {
	Kind     EventKind
	Addr     string
	Class    string        // lane, dedicated, subscription or idle: what was waited for, or what the conn was
	Duration time.Duration // Dialed, DialFailed: of the dial; Closed: the conn's life; WaitEnded: the wait; LeakSuspected, Released: held so far
	Reason   string        // Closed: why
	Err      error         // DialFailed, WaitEnded (when in vain), LaneCondemned, Closed on a failure
	Stack    string        // LeakSuspected: where it was acquired
}

// emitLocked keeps an event until the lock is free: listeners never run
// under it.
func (p *Pool) emitLocked(e Event) {
	if p.cfg.OnEvent == nil {
		return
	}
	e.Addr = p.cfg.Addr
	p.later = append(p.later, func() { p.cfg.OnEvent(e) })
}

// troubleLocked tells that the node may not be well.
func (p *Pool) troubleLocked(err error) {
	if p.cfg.OnTrouble != nil {
		p.later = append(p.later, func() { p.cfg.OnTrouble(err) })
	}
}

// unlock frees mu and does what had to wait for that. A closed pool is empty
// only when that is done as well: listeners hear nothing after Close.
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
