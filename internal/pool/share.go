package pool

import (
	"time"

	"github.com/seed-2b0d76a6/respool/internal/budget"
)

// overtaking limits by how much a caller may be served before an older caller of another pool of the budget. A place
// that moves to another pool costs a close and a dial. So a conn first serves the callers of its own pool that came soon
// after.
const overtaking = 10 * time.Millisecond

// joinBudget makes the pool share the places of Config.Budget with others. With a budget, allowed follows the places that
// the pool has. It keeps the first for a lane, as long as the budget has more places than pools in use. It returns a
// place as soon as no caller needs it.
func (p *Pool) joinBudget() {
	if p.cfg.Budget != nil {
		p.share = p.cfg.Budget.Join(p.wakeUp)
		p.applyTermsLocked(p.share.Terms())
	}
}

// wakeUp is called when the terms of the share have changed.
func (p *Pool) wakeUp() {
	p.mu.Lock()
	p.serveLocked()
	p.unlock()
}

// applyTermsLocked applies the terms of the budget.
func (p *Pool) applyTermsLocked(t budget.Terms) {
	p.terms = t
	p.allowed, p.reach = min(t.Limit, p.limit-p.claims), min(t.Reach, p.limit)
	for _, wake := range t.Wake {
		p.calls.add(wake)
	}
}

// roomLocked reports whether a place is free. It takes one of the budget that nobody else wants.
func (p *Pool) roomLocked() bool {
	if p.placesTakenLocked() < p.allowed {
		return true
	}
	if p.share == nil || p.allowed >= p.limit {
		return false
	}
	t, ok := p.share.Take()
	p.applyTermsLocked(t)
	return ok && p.placesTakenLocked() < p.allowed
}

// roomLikelyLocked is roomLocked without taking a place: it goes by the last terms.
func (p *Pool) roomLikelyLocked() bool {
	return p.placesTakenLocked() < p.allowed || p.share != nil && p.allowed < p.limit && p.terms.Room
}

// yieldLocked gives places up for callers of other pools.
func (p *Pool) yieldLocked() {
	if p.share == nil {
		return
	}
	p.applyTermsLocked(p.share.Terms())
	give := 0
	switch t := &p.terms; {
	case t.Evict && p.leasedLocked()+p.probing == 0:
		give = t.Limit
	case t.Evict:
	case t.Needed > 0:
		if give = p.yieldableLocked(); give <= 0 {
			return
		}
	default:
		return
	}
	p.applyTermsLocked(p.share.Give(give))
	p.shrinkLocked()
}

// yieldableLocked returns how many places the pool can give up for a caller that waits since terms.Since.
func (p *Pool) yieldableLocked() int {
	return min(p.terms.Needed, p.allowed-p.neededLocked(p.ownBeforeLocked(p.terms.Since.Add(overtaking))))
}

// ownBeforeLocked returns how many conns the callers need that waited at a time.
func (p *Pool) ownBeforeLocked(t time.Time) (n int) {
	for w := p.line.forConn.First(); w != nil && n < p.allowed && !w.since.After(t); w = w.Next() {
		n++
	}
	for _, g := range p.line.forLane {
		if g.open == 0 && !g.waitLane.First().since.After(t) {
			n++
		}
	}
	if p.gate.failures > 0 {
		return min(n, 1) // one dial at a time
	}
	return n
}

// neededLocked returns how many places the pool needs for its lane, its leases, and the conns of waiting callers.
func (p *Pool) neededLocked(callers int) int {
	n := p.leasedLocked() + p.probing + max(callers, p.gate.inFlight+p.count[preparing]+p.count[doubted])
	if p.optional || p.terms.Exceeded && len(p.lanes) == 0 {
		return n
	}
	return n + 1
}

// requestLocked requests another place for the first caller that waits for one; left are those without a conn. It
// reports whether the pool got it.
func (p *Pool) requestLocked(left []*waiter) bool {
	if p.share == nil {
		return false
	}
	p.unserved = len(left)
	w := p.firstUnservedLocked(left)
	if w == nil && !p.wanting {
		return false
	}
	before := p.allowed
	if p.wanting = w != nil; p.wanting {
		p.applyTermsLocked(p.share.Want(true, w.since))
	} else {
		p.applyTermsLocked(p.share.Want(false, time.Time{}))
	}
	return p.allowed > before
}

// firstUnservedLocked returns the first waiter that needs another place than those of the pool; nil if there is none.
func (p *Pool) firstUnservedLocked(left []*waiter) *waiter {
	switch {
	case p.allowed >= p.reach || p.line.waiting == 0:
		return nil
	case p.allowed == 0:
		return p.line.first()
	}
	var first *waiter
	if len(left) > 0 && p.placesTakenLocked() >= p.allowed {
		first = left[0]
	}
	if p.sharesPlaceLocked() {
		return first
	}
	w := p.line.forConn.First()
	for n := p.maxLeasedLocked() - p.leasedLocked(); w != nil && n > 0; n-- {
		w = w.Next()
	}
	if first == nil || w != nil && w.seq < first.seq {
		first = w
	}
	return first
}

// settleLocked reports the pool's state to the budget and returns the places that no caller needs. It reports whether
// the pool must serve again, because its terms have changed.
func (p *Pool) settleLocked() bool {
	if p.share == nil {
		return false
	}
	state, keep := budget.State{Taken: p.placesTakenLocked()}, 0
	if !p.closed && !p.suspended {
		state.InUse, state.Optional = true, p.optional
		keep = p.keptLocked()
		state.Spare = max(0, keep-p.neededLocked(0))
		if keep == 1 && len(p.lanes) == 1 && !p.lanes[0].draining && p.leasedLocked()+p.probing == 0 {
			state.Lane = p.lanes[0].lane
		}
	} else if p.wanting {
		p.wanting = false
		p.applyTermsLocked(p.share.Want(false, time.Time{}))
	}
	if keep == p.terms.Limit && state == p.reported {
		return false
	}
	before := keep
	p.reported = state
	p.applyTermsLocked(p.share.Update(state, p.terms.Limit-keep))
	return state.InUse && (p.allowed > before || p.terms.Evict || p.terms.Needed > 0 && p.yieldableLocked() > 0)
}

// keptLocked returns how many of its places the pool keeps. It keeps all while a caller wants another one.
func (p *Pool) keptLocked() int {
	if p.wanting {
		return p.allowed
	}
	n := p.placesTakenLocked() - p.count[closing] + p.unserved
	if p.optional {
		return min(n, p.allowed)
	}
	if !p.sharesPlaceLocked() && p.count[shared] == 0 {
		n++ // for a lane
	}
	if !p.terms.Exceeded {
		n = max(n, 1)
	}
	return min(n, p.allowed)
}

// Guarantee sets whether the pool has a place of Config.Budget in any case. Without it, its lanes make room for the callers
// of other pools. A new pool has it.
func (p *Pool) Guarantee(guaranteed bool) {
	p.mu.Lock()
	defer p.unlock()
	if p.optional == guaranteed {
		p.optional = !guaranteed
		p.serveLocked()
	}
}
