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
	p.serveLocked()
}

// Retire closes the conns whose identities have Replica, or those whose identities do not, because the node has taken
// another role. Waiters of these identities get ErrSuspended, and their dials in flight close when they are done. Leased
// conns send no other command, and lanes only those that they have taken. Replies may arrive for at most limit, and each conn
// closes when it has no pending one. Later callers get new conns. It does not block.
func (p *Pool) Retire(replica bool, limit time.Duration) {
	p.mu.Lock()
	defer p.unlock()
	if p.closed || p.suspended {
		return
	}
	dialing := 0
	for k, g := range p.subpools {
		if k.Replica == replica {
			dialing += g.dialing
			g.laneWanted = 0
			p.failSubpoolLocked(g, ErrSuspended)
		}
	}
	if dialing > 0 {
		p.retired[mode(replica)]++
	}
	began := false
	for _, c := range p.members {
		if c.subpool.identity.Replica != replica || c.class == closing || c.retire == retirement {
			continue
		}
		if c.class == idle {
			p.closeIdleLocked(c, retirement)
			continue
		}
		began = true
		c.cutAt = time.Now().Add(limit)
		switch {
		case c.class != shared:
			c.draining, c.retire = true, retirement
			p.calls.add(func() { c.lane.Retire(c.drained) })
		case c.draining:
			c.retire = retirement
		default:
			p.drainLocked(c, retirement) // its callers may have just been redirected to the node
		}
	}
	if began {
		p.cutoff.within(limit)
	}
	p.serveLocked()
}

// Move makes new conns lead elsewhere, and closes the present ones as Retire does: those of all identities.
func (p *Pool) Move(to Destination, limit time.Duration) {
	p.mu.Lock()
	p.redirectLocked(to)
	p.unlock()
	p.Retire(false, limit)
	p.Retire(true, limit)
}

// Renew makes dials use another login or encryption, and closes the present conns as Redial does. Dials in flight close
// when they are done. why is the reason in the events.
func (p *Pool) Renew(to Destination, why string) {
	p.mu.Lock()
	p.redirectLocked(to)
	for k, g := range p.subpools {
		if g.dialing > 0 {
			p.retired[mode(k.Replica)]++
		}
	}
	p.unlock()
	p.Redial(why)
}

// redirectLocked changes the destination. Failures of the old one do not count any more.
func (p *Pool) redirectLocked(to Destination) {
	p.dialTo.Store(&to)
	p.gate.succeeded()
	p.refusals.clear()
}

// mode returns the index of a mode in Pool.retired.
func mode(replica bool) int {
	if replica {
		return 1
	}
	return 0
}

// generationLocked returns a number that changes when the conns of g are not used any more.
func (p *Pool) generationLocked(g *Subpool) int {
	return p.generation + p.retired[mode(g.identity.Replica)]
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
