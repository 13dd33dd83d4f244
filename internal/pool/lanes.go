package pool

import (
	"slices"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/lane"
)

// openLaneLocked returns the open lane of g with the fewest pending replies.
func (p *Pool) openLaneLocked(g *Subpool) *member {
	if g.open == 0 {
		return nil
	}
	var best *member
	for _, c := range p.lanes {
		if d := c.lane.Load(); c.subpool == g && !c.draining && d >= 0 && (best == nil || d < best.lane.Load()) {
			best = c
		}
	}
	return best
}

// drainLocked drains a lane. When it is empty it becomes idle, or closes if reason is not empty.
func (p *Pool) drainLocked(c *member, reason string) {
	c.draining, c.retire = true, reason
	p.publishLocked(c.subpool)
	p.calls.add(func() { c.lane.Drain(c.drained) })
}

// drained is called when a lane or a returned conn has no pending reply any more.
func (c *member) drained() {
	p := c.pool
	p.mu.Lock()
	if c.class != closing {
		c.draining = false
		p.makeIdleLocked(c)
	}
	p.serveLocked()
	p.unlock()
}

// makeIdleLocked makes a clean, unused conn idle, or closes it.
func (p *Pool) makeIdleLocked(c *member) {
	p.removeLaneLocked(c)
	now := time.Now()
	switch {
	case c.retire != "":
		p.closeLocked(c, c.retire)
	case p.closed:
		p.closeLocked(c, "the client was closed")
	case p.placesTakenLocked() > p.max:
		p.closeLocked(c, "over the limit after a resize")
	case c.expired(now):
		p.closeLocked(c, "maximum lifetime")
	default:
		p.moveLocked(c, idle)
		c.idleSince = now
		p.idle.push(c)
	}
}

// popIdleLocked takes the idle conn of g that was used last and is not stale. died removes dead conns.
func (p *Pool) popIdleLocked(g *Subpool) *member {
	return p.idle.pop(func(c *member) bool { return c.subpool == g && c.lane.Depth() >= 0 && !p.stale(c) })
}

func (p *Pool) closeIdleLocked(c *member, reason string) {
	p.idle.remove(c)
	p.closeLocked(c, reason)
}

func (p *Pool) shareLocked(c *member) {
	c.lane.Undrain(c.subpool, c.subpool.identity.proof())
	p.moveLocked(c, shared)
	p.lanes = append(p.lanes, c)
	p.publishLocked(c.subpool)
}

func (p *Pool) removeLaneLocked(c *member) {
	if i := slices.Index(p.lanes, c); i >= 0 {
		p.lanes = append(p.lanes[:i:i], p.lanes[i+1:]...)
		p.publishLocked(c.subpool)
	}
}

// publishLocked publishes the open lanes of g to callers without the lock.
func (p *Pool) publishLocked(g *Subpool) {
	open := make([]*lane.Lane, 0, g.count[shared])
	for _, c := range p.lanes {
		if c.subpool == g && !c.draining {
			open = append(open, c.lane)
		}
	}
	g.open = len(open)
	g.view.Store(&open)
}

// shrinkLocked closes unused conns beyond the bound.
func (p *Pool) shrinkLocked() {
	over := p.placesTakenLocked() - p.count[closing] - p.max
	for _, c := range p.lanes {
		if c.draining && c.retire != "" {
			over--
		}
	}
	for ; over > 0 && p.idle.len() > 0; over-- {
		p.closeLocked(p.idle.popBottom(), "over the limit after a resize")
	}
	for ; over > 0 && len(p.lanes) > p.minLanesLocked(); over-- {
		c := p.victimLocked(nil, false)
		if c == nil {
			return
		}
		p.drainLocked(c, "over the limit after a resize")
	}
}
