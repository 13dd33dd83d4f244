package pool

import (
	"slices"
	"time"
)

// serveLocked is the pool's whole policy. It is called after every change and
// brings the pool to rest: conns go to those who wait, dials begin where they
// are needed and allowed, idle conns of one key become those of another, lanes drain where
// their slot is needed, and what is over the bound closes.
//
// The rules: with two slots or more, one is kept for a lane, so that lent
// conns never starve the shared ones, and the two queues of a group do not touch. With
// one slot all callers take turns, in the order they came; and so do groups that have
// more work than there are slots.
func (p *Pool) serveLocked() {
	if p.closed || p.suspended {
		for _, g := range p.groups {
			g.mayGrow.Store(false)
		}
		p.tidyLocked()
		return
	}
	for p.serveWaitersLocked() {
	}
	p.shrinkLocked()
	p.recastLocked()
	p.drainForWaitersLocked()
	p.dialLocked()
	room := p.usedLocked() < p.max && p.backoff.failures == 0
	for _, g := range p.groups {
		g.mayGrow.Store(room && len(g.lanes)+g.laneWanted < p.cfg.Lanes)
	}
	if len(p.groups) > 1 {
		p.tidyLocked()
	}
}

func (p *Pool) serveWaitersLocked() (served bool) {
	for _, g := range p.byAgeLocked() {
		for g.serveLaneWaitersLocked() || g.serveConnWaitersLocked() {
			served = true
		}
	}
	return served
}

// turn reports whether w is the next one where all share one slot.
func (p *Pool) turn(w *waiter) bool {
	if p.max > 1 {
		return true
	}
	for _, q := range p.queuesLocked() {
		if q.first != nil && q.first.seq < w.seq {
			return false
		}
	}
	return true
}

// idleTurn reports whether the group may use a conn of its own that is idle: not where callers
// of another group have waited longer and get nothing else.
func (g *Group) idleTurn(w *waiter) bool {
	p := g.p
	if len(p.groups) == 1 || p.usedLocked() < p.max {
		return true
	}
	spare := len(g.stack)
	for _, h := range p.groups {
		if h != g && h.oldest() < w.seq {
			spare -= max(h.missingLocked(), 0)
		}
	}
	return spare > 0
}

func (g *Group) serveLaneWaitersLocked() bool {
	p := g.p
	if g.waitLane.n == 0 || !p.turn(g.waitLane.first) {
		return false
	}
	c := g.openLaneLocked()
	if c == nil {
		if !g.idleTurn(g.waitLane.first) {
			return false
		}
		if c = g.popLocked(); c == nil {
			return false
		}
		g.shareLocked(c)
	}
	served := false
	for g.waitLane.n > 0 && p.turn(g.waitLane.first) && c.lane.Reserve() {
		p.grantLocked(&g.waitLane, grant{conn: c})
		served = true
	}
	return served
}

func (g *Group) serveConnWaitersLocked() bool {
	p := g.p
	if g.waitConn.n == 0 || !p.turn(g.waitConn.first) || p.lentLocked() >= p.maxLentLocked() || !g.idleTurn(g.waitConn.first) {
		return false
	}
	c := g.popLocked()
	if c == nil {
		return false
	}
	p.lendLocked(c, g.waitConn.first.want)
	p.grantLocked(&g.waitConn, grant{conn: c})
	return true
}

// lentLocked is how many conns callers hold for themselves.
func (p *Pool) lentLocked() int { return p.count[dedicated] + p.count[subscribed] }

// maxLentLocked is how many they may hold: one slot is kept for a lane.
func (p *Pool) maxLentLocked() int { return max(1, p.max-1) }

// minLanesLocked is how many lanes dedicated callers leave alone.
func (p *Pool) minLanesLocked() int {
	if p.max > 1 {
		return 1
	}
	return 0
}

// drainForWaitersLocked drains lanes for callers who wait for a conn of their own, or for a lane
// of another group, when there is no other slot.
func (p *Pool) drainForWaitersLocked() {
	if p.usedLocked() < p.max {
		return
	}
	conns, lanes := 0, 0
	for _, g := range p.groups {
		if g.waitConn.n > 0 && p.turn(g.waitConn.first) {
			conns += g.waitConn.n
		}
		if len(p.groups) > 1 && g.waitLane.n > 0 && p.turn(g.waitLane.first) && g.openLaneLocked() == nil {
			lanes++
		}
	}
	conns = max(0, min(conns, p.maxLentLocked()-p.lentLocked()))
	coming, open := p.dialing+p.count[turning]+p.count[closing], 0
	for _, c := range p.lanesLocked() {
		if c.draining {
			coming++
		} else {
			open++
		}
	}
	for n := conns + lanes - coming; n > 0; n-- {
		if open <= p.minLanesLocked() && lanes == 0 {
			return
		}
		c := p.leastNeededLaneLocked()
		if c == nil {
			return // those counted died just now
		}
		p.drainLocked(c, "")
		open--
	}
}

// leastNeededLaneLocked is the open lane to be given up: one of the group with the most,
// with the fewest replies due; where each has one alone, that which was not used for longest.
func (p *Pool) leastNeededLaneLocked() *Conn {
	var best *Conn
	most := 0
	for _, g := range p.groups {
		c, n := g.openLaneLocked(), g.openLanesLocked()
		if c == nil || n < most {
			continue
		}
		if best == nil || n > most || lessNeeded(c, best) {
			best, most = c, n
		}
	}
	return best
}

func lessNeeded(a, b *Conn) bool {
	if x, y := a.lane.Depth() > 0, b.lane.Depth() > 0; x != y {
		return y
	}
	return a.lane.UsedAt().Before(b.lane.UsedAt())
}

// drainLocked closes a lane for newcomers. When it is empty it becomes an
// idle conn, or is closed if there is a reason to.
func (p *Pool) drainLocked(c *Conn, reason string) {
	c.draining, c.retire = true, reason
	c.group.publishLocked()
	p.later = append(p.later, func() { c.lane.Drain(c.drained) })
}

// drained takes in a lane or a returned conn on which nothing is due any more.
func (c *Conn) drained() {
	p := c.pool
	p.mu.Lock()
	if c.class != closing {
		c.draining = false
		p.settleLocked(c)
	}
	p.serveLocked()
	p.unlock()
}

// settleLocked makes a clean, unused conn idle, or closes it.
func (p *Pool) settleLocked(c *Conn) {
	p.removeLaneLocked(c)
	now := time.Now()
	switch {
	case c.retire != "":
		p.closeLocked(c, c.retire)
	case p.closed:
		p.closeLocked(c, "the client was closed")
	case p.usedLocked() > p.max:
		p.closeLocked(c, "over the limit after a resize")
	case c.expired(now):
		p.closeLocked(c, "maximum lifetime")
	default:
		p.moveLocked(c, idle)
		c.idleSince = now
		c.group = c.group.listedLocked()
		c.group.stack = append(c.group.stack, c)
	}
}

func (p *Pool) removeLaneLocked(c *Conn) {
	g := c.group
	if i := slices.Index(g.lanes, c); i >= 0 {
		g.lanes = slices.Delete(g.lanes, i, i+1)
		g.publishLocked()
	}
}

// shrinkLocked closes what is over the bound and not in use.
func (p *Pool) shrinkLocked() {
	over := p.usedLocked() - p.count[closing] - p.max
	if over <= 0 {
		return
	}
	open := 0
	for _, c := range p.lanesLocked() {
		if c.draining && c.retire != "" {
			over--
		}
		if !c.draining {
			open++
		}
	}
	const why = "over the limit after a resize"
	for ; over > 0; over-- {
		c := p.oldestIdleLocked(nil)
		if c == nil {
			break
		}
		p.closeLocked(c, why)
	}
	for ; over > 0 && open > p.minLanesLocked(); over-- {
		c := p.leastNeededLaneLocked()
		if c == nil {
			return
		}
		p.drainLocked(c, why)
		open--
	}
}
