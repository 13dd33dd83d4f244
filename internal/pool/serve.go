package pool

import (
	"slices"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/lane"
)

// serveLocked is the pool's whole policy. It is called after every change and
// brings the pool to rest: conns go to those who wait, dials begin where they
// are needed and allowed, lanes drain where their slot is needed for a
// dedicated conn, and what is over the bound closes.
//
// The rules: with two slots or more, one is kept for a lane, so that lent
// conns never starve the shared ones, and the two queues do not touch. With
// one slot the two kinds of callers take turns, in the order they came.
func (p *Pool) serveLocked() {
	if p.closed || p.suspended {
		p.mayGrow.Store(false)
		return
	}
	for p.serveLaneWaitersLocked() || p.serveConnWaitersLocked() {
	}
	p.shrinkLocked()
	p.drainForWaitersLocked()
	p.dialLocked()
	p.mayGrow.Store(p.count[shared]+p.laneWanted < p.cfg.Lanes && p.usedLocked() < p.max && p.backoff.failures == 0)
}

// turn reports whether w is the next one where both kinds share one slot.
func (p *Pool) turn(w *waiter) bool {
	if p.max > 1 {
		return true
	}
	for _, q := range p.queues() {
		if q.first != nil && q.first.seq < w.seq {
			return false
		}
	}
	return true
}

func (p *Pool) serveLaneWaitersLocked() bool {
	if p.waitLane.n == 0 || !p.turn(p.waitLane.first) {
		return false
	}
	c := p.openLaneLocked()
	if c == nil {
		if c = p.popLocked(); c == nil {
			return false
		}
		p.shareLocked(c)
	}
	served := false
	for p.waitLane.n > 0 && p.turn(p.waitLane.first) && c.lane.Reserve() {
		p.grantLocked(&p.waitLane, grant{conn: c})
		served = true
	}
	return served
}

// openLanesLocked is how many lanes take newcomers.
func (p *Pool) openLanesLocked() int {
	n := 0
	for _, c := range p.lanes {
		if !c.draining {
			n++
		}
	}
	return n
}

// openLaneLocked is the open lane with the fewest replies due.
func (p *Pool) openLaneLocked() *Conn {
	var best *Conn
	for _, c := range p.lanes {
		if d := c.lane.Depth(); !c.draining && d >= 0 && (best == nil || d < best.lane.Depth()) {
			best = c
		}
	}
	return best
}

func (p *Pool) serveConnWaitersLocked() bool {
	if p.waitConn.n == 0 || !p.turn(p.waitConn.first) || p.lentLocked() >= p.maxLentLocked() {
		return false
	}
	c := p.popLocked()
	if c == nil {
		return false
	}
	p.lendLocked(c, p.waitConn.first.want)
	p.grantLocked(&p.waitConn, grant{conn: c})
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

// drainForWaitersLocked turns lanes into dedicated conns when there is no
// other slot.
func (p *Pool) drainForWaitersLocked() {
	if p.waitConn.n == 0 || p.usedLocked() < p.max || !p.turn(p.waitConn.first) {
		return
	}
	draining, open := 0, 0
	for _, c := range p.lanes {
		if c.draining {
			draining++
		} else {
			open++
		}
	}
	coming := draining + p.dialing + p.count[closing]
	for n := min(p.waitConn.n, p.maxLentLocked()-p.lentLocked()) - coming; n > 0 && open > p.minLanesLocked(); n-- {
		c := p.openLaneLocked()
		if c == nil {
			return // those counted died just now
		}
		p.drainLocked(c, "")
		open--
	}
}

// drainLocked closes a lane for newcomers. When it is empty it becomes an
// idle conn, or is closed if there is a reason to.
func (p *Pool) drainLocked(c *Conn, reason string) {
	c.draining, c.retire = true, reason
	p.publishLocked()
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
		p.stack = append(p.stack, c)
	}
}

// popLocked takes the idle conn that was used last. Dead ones stay for died.
func (p *Pool) popLocked() *Conn {
	for i := len(p.stack) - 1; i >= 0; i-- {
		if c := p.stack[i]; c.lane.Depth() >= 0 {
			p.stack = slices.Delete(p.stack, i, i+1)
			return c
		}
	}
	return nil
}

func (p *Pool) shareLocked(c *Conn) {
	c.lane.Undrain()
	p.moveLocked(c, shared)
	p.lanes = append(p.lanes, c)
	p.publishLocked()
}

func (p *Pool) removeLaneLocked(c *Conn) {
	for i, x := range p.lanes {
		if x == c {
			p.lanes = append(p.lanes[:i:i], p.lanes[i+1:]...)
			p.publishLocked()
			return
		}
	}
}

// publishLocked shows the open lanes to the callers that take no lock.
func (p *Pool) publishLocked() {
	open := make([]*lane.Lane, 0, len(p.lanes))
	for _, c := range p.lanes {
		if !c.draining {
			open = append(open, c.lane)
		}
	}
	p.view.Store(&open)
}

// shrinkLocked closes what is over the bound and not in use.
func (p *Pool) shrinkLocked() {
	over := p.usedLocked() - p.count[closing] - p.max
	for _, c := range p.lanes {
		if c.draining && c.retire != "" {
			over--
		}
	}
	for ; over > 0 && len(p.stack) > 0; over-- {
		p.closeLocked(p.takeOldestLocked(), "over the limit after a resize")
	}
	for ; over > 0 && len(p.lanes) > p.minLanesLocked(); over-- {
		c := p.openLaneLocked()
		if c == nil {
			return
		}
		p.drainLocked(c, "over the limit after a resize")
	}
}

func (p *Pool) takeOldestLocked() *Conn {
	c := p.stack[0]
	p.stack = append(p.stack[:0], p.stack[1:]...)
	return c
}
