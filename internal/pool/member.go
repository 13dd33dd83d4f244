package pool

import (
	"time"

	"github.com/seed-2b0d76a6/respool/internal/lane"
)

// member is one conn in the ledger. Pool.mu guards its fields, except lane, which never changes.
type member struct {
	pool    *Pool
	lane    *lane.Lane
	laneCfg lane.Config

	subpool    *Subpool
	accepted   Identity // the last identity that the server accepted on it
	class      class
	was        class  // class before closing
	draining   bool   // refuses new requests until no reply is pending
	retire     string // reason for closing it, instead of keeping it, when no reply is pending
	reason     string // reason of its close
	idleSince  time.Time
	checkedAt  time.Time
	quietSince time.Time // last use of a lane before the last health check
	expires    time.Time // zero: never
	cutAt      time.Time // when it closes in spite of pending replies; zero: never

	doubts    doubts
	suspicion chan struct{} // of a subscribed conn, capacity 1: see Conn.Suspicion

	dead bool // its lane has failed
	lost bool // it failed; the pool did not close it

	released bool // its last holder has released it
	acquired time.Time
	stack    []uintptr // of the holder, for leak detection
	reported bool
}

func (c *member) expired(now time.Time) bool { return !c.expires.IsZero() && now.After(c.expires) }

// leaseLocked leases an idle conn.
func (p *Pool) leaseLocked(c *member, to class) {
	p.moveLocked(c, to)
	c.lane.Undrain(nil, lane.NoProof)
	c.released, c.reported = false, false
	c.acquired = time.Now()
	if to == subscribed {
		c.suspicion = make(chan struct{}, 1)
	}
	if p.cfg.LeakThreshold > 0 && to == dedicated {
		c.stack = nil
	}
}

// returnLocked takes a leased conn back from its holder.
func (p *Pool) returnLocked(c *member, reason string) {
	c.released = true
	p.emitReleasedLocked(c)
	p.endUseLocked(c, reason)
	p.serveLocked()
}

// emitReleasedLocked emits the event of a release.
func (p *Pool) emitReleasedLocked(c *member) {
	if p.cfg.OnEvent == nil {
		return
	}
	leased := c.class
	if leased == closing {
		leased = c.was
	}
	p.emitLocked(Event{Kind: Released, Class: leased.String(), Duration: time.Since(c.acquired)})
}

// endUseLocked ends the use of a conn: it closes for the given reason, drains, or becomes idle.
func (p *Pool) endUseLocked(c *member, reason string) {
	c.stack = nil
	switch {
	case c.class == closing:
	case reason != "":
		p.closeLocked(c, reason)
	case c.lane.Depth() > 0:
		c.draining = true
		p.calls.add(func() { c.lane.Drain(c.drained) })
	default:
		p.makeIdleLocked(c)
	}
}

// giveBackLocked takes back a grant whose waiter has left.
func (p *Pool) giveBackLocked(c *member, want class) {
	if want == shared {
		p.calls.add(c.lane.Unreserve)
		return
	}
	c.released = true
	p.endUseLocked(c, "")
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
	case p.placesTakenLocked() > p.allowed:
		p.closeLocked(c, p.overLimitLocked())
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

// closeLocked starts to close a conn. Its place is free when the server has closed its side.
func (p *Pool) closeLocked(c *member, reason string) {
	p.removeLaneLocked(c)
	if c.reason == "" {
		c.reason = reason
	}
	p.moveLocked(c, closing)
	p.calls.add(func() { c.lane.Fail(closeReason(reason)) })
}

// closeReason is the cause of an intended close.
type closeReason string

func (r closeReason) Error() string { return "connection closed: " + string(r) }

// died is OnDead of a lane.
func (c *member) died(_ *lane.Lane, cause error) {
	p := c.pool
	p.mu.Lock()
	c.diedLocked(cause)
	p.unlock()
}

// diedLocked removes a failed conn from use. It does nothing for further calls.
func (c *member) diedLocked(cause error) {
	if c.dead {
		return
	}
	p := c.pool
	c.dead = true
	_, intended := cause.(closeReason)
	c.lost = !intended // also if its holder has already closed it, because its commands failed
	if c.class == closing {
		return
	}
	if c.retire == "" {
		p.troubleLocked(cause)
		p.afterStallLocked(c, cause)
	}
	if c.class == shared {
		p.statistic.failedLanes++
		p.emitLocked(Event{Kind: LaneFailed, Class: c.class.String(), Err: cause})
	}
	p.idle.remove(c)
	p.removeLaneLocked(c)
	c.reason = cause.Error()
	p.moveLocked(c, closing)
	p.failFastLocked()
	p.serveLocked()
}

// closed is OnClosed of a lane: the socket is closed on both sides, and its place is free. It may run before died,
// which another goroutine calls.
func (c *member) closed(l *lane.Lane) {
	p := c.pool
	p.mu.Lock()
	c.diedLocked(l.Err())
	p.removeLocked(c)
	p.statistic.closed++
	p.emitLocked(Event{Kind: Closed, Class: c.was.String(), Duration: time.Since(l.Born), Reason: c.reason})
	p.serveLocked()
	if c.lost {
		p.users.check(p, c.accepted)
	}
	p.unlock()
}
