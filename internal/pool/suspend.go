package pool

import (
	"errors"
	"time"
)

// ErrSuspended is why a pool takes nobody: its node is not to be used. Nothing
// was sent, and the caller may go elsewhere.
var ErrSuspended = errors.New("the node is not used any more")

// retirement is the reason with which conns of a suspended pool close.
const retirement = "its node is not used any more"

// Suspend ends the use of the node. Those who wait get ErrSuspended, and so
// does everyone who asks from now on; dials under way are given up. No conn,
// a lent one neither, sends another command; replies that are due are let in
// for at most limit, and each conn closes when it has none. Suspending again
// does nothing.
func (p *Pool) Suspend(limit time.Duration) {
	p.mu.Lock()
	defer p.unlock()
	if p.closed || p.suspended {
		return
	}
	p.suspended = true
	p.generation++
	p.cancel()
	p.failWaitersLocked(ErrSuspended)
	p.wishNothingLocked()
	p.notifyLocked()
	for len(p.stack) > 0 {
		p.closeLocked(p.takeOldestLocked(), retirement)
	}
	for _, c := range p.members {
		if c.class != closing {
			c.draining, c.retire = true, retirement
			c.cutAt = time.Now().Add(limit)
			p.later = append(p.later, func() { c.lane.Retire(c.drained) })
		}
	}
	for _, c := range p.lanes {
		p.publishLocked(c.group)
	}
	p.cutLaterLocked(limit)
}

// Resume undoes Suspend: the node is used again, with new conns. What is left
// of the old ones counts against the bound until it is closed.
func (p *Pool) Resume() {
	p.mu.Lock()
	defer p.unlock()
	if p.closed || !p.suspended {
		return
	}
	p.suspended = false
	p.newDialsLocked()
	p.backoff.succeeded()
	clear(p.refusals)
	p.serveLocked()
}

// cutLaterLocked sees to conns whose last replies take too long, after d.
func (p *Pool) cutLaterLocked(d time.Duration) {
	if p.cutoff == nil {
		p.cutoff = time.AfterFunc(d, p.cutOff)
		return
	}
	p.cutoff.Reset(d)
}

// cutOff ends the conns whose time to drain is over.
func (p *Pool) cutOff() {
	p.mu.Lock()
	defer p.unlock()
	if p.emptied {
		return
	}
	now, next := time.Now(), time.Duration(-1)
	for _, c := range p.members {
		if c.cutAt.IsZero() || c.class == closing {
			continue
		}
		if left := c.cutAt.Sub(now); left > 0 {
			if next < 0 || left < next {
				next = left
			}
			continue
		}
		p.closeLocked(c, retirement)
	}
	if next >= 0 {
		p.cutLaterLocked(next)
	}
}

// Empty reports whether no slot is taken.
func (p *Pool) Empty() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.usedLocked() == 0
}
