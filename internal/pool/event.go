package pool

import (
	"sync"
	"time"
)

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
	e.Addr = p.dialTo.Load().Addr
	p.calls.add(func() { p.cfg.OnEvent(e) })
}

// troubleLocked queues a call of OnTrouble.
func (p *Pool) troubleLocked(err error) {
	if p.cfg.OnTrouble != nil {
		p.calls.add(func() { p.cfg.OnTrouble(err) })
	}
}

// unlock releases mu and runs the queued calls. A closed pool is empty only after these calls: listeners receive
// nothing after Close.
func (p *Pool) unlock() {
	p.calls.run(&p.mu)
	p.checkEmptyLocked()
	p.mu.Unlock()
}

// callQueue holds calls that must not run while mu is held. Pool.mu guards it.
type callQueue struct {
	queue   []func()
	running int // goroutines that make such calls now
}

// add queues a call until run.
func (q *callQueue) add(fn func()) { q.queue = append(q.queue, fn) }

// run makes the queued calls, and those that they queue, in order. It releases mu meanwhile.
func (q *callQueue) run(mu *sync.Mutex) {
	for len(q.queue) > 0 {
		todo := q.queue
		q.queue = nil
		q.running++
		mu.Unlock()
		for _, fn := range todo {
			fn()
		}
		mu.Lock()
		q.running--
	}
}

// empty reports whether no call is queued or running.
func (q *callQueue) empty() bool { return len(q.queue)+q.running == 0 }
