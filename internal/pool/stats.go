package pool

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// counters never decrease.
type counters struct {
	dials, dialFailures, closed, failedLanes uint64
	waits, failedWaits, refused              uint64
	waited, longestWait                      time.Duration
	leaks, switches                          uint64
}

// waitEnded counts a wait.
func (c *counters) waitEnded(took time.Duration, err error) {
	c.waited += took
	c.longestWait = max(c.longestWait, took)
	c.waitFailed(err)
}

// waitFailed counts a failed wait, unless its caller canceled it.
func (c *counters) waitFailed(err error) {
	if err != nil && !errors.Is(err, context.Canceled) {
		c.failedWaits++
	}
}

// Stats is a snapshot of a pool and its counters. A conn that switches identity, or is checked before a lease, counts
// as dialing.
type Stats struct {
	Addr                                     string
	Max, Dialing, Lanes, Idle, Dedicated     int
	Subscribed, Closing, Waiting, RepliesDue int
	Dials, DialFailures, Closed, FailedLanes uint64
	Waits, FailedWaits                       uint64
	Refused                                  uint64 // callers that received the server's refusal of their identity
	Waited, LongestWait                      time.Duration
	Leaks, IdentitySwitches                  uint64
	Observers                                int   // calls of Observe that wait for a conn, which Waiting does not count
	Subpools                                 int   // identities with conns or waiters
	LastDialError                            error // last failed dial to the node
	LastRefusal                              error // last refusal of an identity
}

// Sockets returns how many places of the bound are taken: the sockets that the server may count.
func (s *Stats) Sockets() int {
	return s.Dialing + s.Lanes + s.Idle + s.Dedicated + s.Subscribed + s.Closing
}

// Add adds the numbers of another pool.
func (s *Stats) Add(o *Stats) {
	for _, p := range []struct{ sum, one *int }{
		{&s.Dialing, &o.Dialing}, {&s.Lanes, &o.Lanes}, {&s.Idle, &o.Idle}, {&s.Dedicated, &o.Dedicated},
		{&s.Subscribed, &o.Subscribed}, {&s.Closing, &o.Closing}, {&s.Waiting, &o.Waiting}, {&s.RepliesDue, &o.RepliesDue},
		{&s.Subpools, &o.Subpools}, {&s.Observers, &o.Observers},
	} {
		*p.sum += *p.one
	}
	for _, p := range []struct{ sum, one *uint64 }{
		{&s.Dials, &o.Dials}, {&s.DialFailures, &o.DialFailures}, {&s.Closed, &o.Closed}, {&s.FailedLanes, &o.FailedLanes},
		{&s.Leaks, &o.Leaks}, {&s.IdentitySwitches, &o.IdentitySwitches}, {&s.Waits, &o.Waits}, {&s.FailedWaits, &o.FailedWaits}, {&s.Refused, &o.Refused},
	} {
		*p.sum += *p.one
	}
	s.Waited += o.Waited
	s.LongestWait = max(s.LongestWait, o.LongestWait)
	if o.LastDialError != nil {
		s.LastDialError = o.LastDialError
	}
	if o.LastRefusal != nil {
		s.LastRefusal = o.LastRefusal
	}
}

// Stats returns a snapshot. It takes the pool's lock.
func (p *Pool) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.statistic
	due := 0
	for _, c := range p.lanes {
		due += max(0, c.lane.Depth())
	}
	subpools := len(p.subpools)
	for _, g := range []*Subpool{&p.zero, &p.readers} {
		if !g.usedLocked() {
			subpools--
		}
	}
	return Stats{
		Addr: p.dialTo.Load().Addr, Max: p.limit, Dialing: p.gate.inFlight + p.count[preparing] + p.probing, Lanes: p.count[shared], Idle: p.count[idle] + p.count[doubted],
		Dedicated: p.count[dedicated], Subscribed: p.count[subscribed], Closing: p.count[closing],
		Waiting: p.line.callers + p.awaitingCallers, Observers: p.line.waiting + p.awaiting - p.line.callers - p.awaitingCallers, RepliesDue: due, Subpools: subpools,
		Dials: s.dials, DialFailures: s.dialFailures, Closed: s.closed, FailedLanes: s.failedLanes,
		Waits: s.waits, FailedWaits: s.failedWaits, Waited: s.waited, LongestWait: s.longestWait,
		Refused: s.refused, Leaks: s.leaks, IdentitySwitches: s.switches,
		LastDialError: p.gate.lastError, LastRefusal: p.refusals.lastError(),
	}
}

// stateLocked describes the pool for errors.
func (p *Pool) stateLocked() string {
	s := fmt.Sprintf("limit %d: %d lanes, %d in use, %d subscriptions, %d idle, %d dialing, %d closing; %d waiting",
		p.limit, p.count[shared], p.count[dedicated], p.count[subscribed], p.count[idle]+p.count[doubted], p.gate.inFlight+p.count[preparing],
		p.count[closing], p.line.waiting+p.awaiting)
	if p.share != nil {
		s += fmt.Sprintf("; %d of the %d connections to all nodes", p.allowed, p.cfg.Budget.Total())
	}
	if p.gate.inFlight > 0 {
		s += fmt.Sprintf("; dialing for %v", time.Since(p.gate.since).Round(time.Millisecond))
	}
	if p.gate.lastError != nil {
		s += "; last dial failed: " + p.gate.lastError.Error()
	}
	return s
}

// Subscribed reports whether there are conns for subscriptions.
func (p *Pool) Subscribed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.count[subscribed] > 0
}
