package pool

import (
	"context"
	"errors"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/lane"
)

// member is one conn in the ledger. Pool.mu guards its fields, except lane, which never changes.
type member struct {
	pool    *Pool
	lane    *lane.Lane
	laneCfg lane.Config

	subpool    *Subpool
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
func (c *member) died(l *lane.Lane, cause error) {
	p := c.pool
	p.mu.Lock()
	if _, intended := cause.(closeReason); !intended {
		c.lost = true // also if its holder has already closed it, because its commands failed
	}
	if c.class != closing {
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
	p.unlock()
}

// checkUserLocked requests a conn for a user that has clients and has just lost the last conn. The server may have
// deleted the user; its refusal then reaches OnDisowned.
func (p *Pool) checkUserLocked(k Identity) {
	if k.User == "" || p.cfg.Wanted == nil || p.hasConnsLocked(k.User) {
		return
	}
	p.calls.add(func() {
		if !p.cfg.Wanted(k.User) {
			return
		}
		p.mu.Lock()
		if p.lacksConnsLocked(k.User) {
			p.goroutines++
			go p.checkUser(p.dials, k)
		}
		p.unlock()
	})
}

// lacksConnsLocked reports whether the pool is in use and a user has no conns.
func (p *Pool) lacksConnsLocked(user string) bool {
	return !p.closed && !p.suspended && !p.hasConnsLocked(user)
}

// checkUser requests a conn until the user has one, the server refuses the user, or the node is out of use. If other
// callers hold all places, it tries again.
func (p *Pool) checkUser(ctx context.Context, k Identity) {
	for again := true; again; {
		c, err := p.obtain(ctx, p.Subpool(k), shared)
		p.mu.Lock()
		again = false
		switch {
		case err == nil:
			p.giveBackLocked(c, shared)
		case !p.lacksConnsLocked(k.User):
		case p.refusals.ofUser(k.User):
			p.disownLocked(k.User) // the dial that was refused may have found other conns, which are lost since
		default:
			again = errors.Is(err, ErrExhausted)
		}
		p.unlock()
		if again = again && p.cfg.Wanted(k.User); again {
			select {
			case <-time.After(refusalPause):
			case <-ctx.Done():
				again = false
			}
		}
	}
	p.mu.Lock()
	p.goroutines--
	p.unlock()
}

// disownLocked reports a user that the server refuses and that has no conns.
func (p *Pool) disownLocked(user string) {
	if user != "" && p.cfg.OnDisowned != nil {
		p.calls.add(func() { p.cfg.OnDisowned(user) })
	}
}

// closed is OnClosed of a lane: the socket is closed on both sides, and its place is free.
func (c *member) closed(l *lane.Lane) {
	p := c.pool
	p.mu.Lock()
	p.count[closing]--
	c.subpool.count[closing]--
	delete(p.members, l)
	p.statistic.closed++
	p.emitLocked(Event{Kind: Closed, Class: c.was.String(), Duration: time.Since(l.Born), Reason: c.reason})
	p.serveLocked()
	if c.lost {
		p.checkUserLocked(c.subpool.identity)
	}
	p.unlock()
}
