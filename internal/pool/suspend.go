package pool

import (
	"errors"
	"time"
)

// ErrSuspended is returned while the node is out of use. Nothing was sent, and the caller may use another node.
var ErrSuspended = errors.New("the node is not used any more")

// retirement is the reason for closing conns of a suspended pool.
const retirement = "its node is not used any more"

// Suspend takes the node out of use. Waiters and later callers get ErrSuspended. Dials in flight are canceled. No
// conn, leased ones included, sends another command. Pending replies may arrive for at most limit, and each conn
// closes when it has none. A second call does nothing. It does not block.
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
	p.cancelWantedLanesLocked()
	p.notifyLocked()
	for p.idle.len() > 0 {
		p.closeLocked(p.idle.popBottom(), retirement)
	}
	for _, c := range p.members {
		if c.class != closing {
			c.draining, c.retire = true, retirement
			c.cutAt = time.Now().Add(limit)
			p.calls.add(func() { c.lane.Retire(c.drained) })
		}
	}
	for _, c := range p.lanes {
		p.publishLocked(c.subpool)
	}
	p.cutoff.within(limit)
}

// Resume takes the node into use again, with new conns. The remaining old conns count against the bound until they
// are closed.
func (p *Pool) Resume() {
	p.mu.Lock()
	defer p.unlock()
	if p.closed || !p.suspended {
		return
	}
	p.suspended = false
	p.newDialsLocked()
	p.gate.succeeded()
	p.refusals.clear()
	p.serveLocked()
}

// cutOff closes the conns whose time to drain is over.
func (p *Pool) cutOff() {
	p.mu.Lock()
	defer p.unlock()
	p.cutoff.ring()
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
		p.cutoff.within(next)
	}
}

// Empty reports whether no place is taken.
func (p *Pool) Empty() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.placesTakenLocked() == 0
}
