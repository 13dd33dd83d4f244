package pool

import (
	"context"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/lane"
)

// member is a connection in the ledger. Fields are guarded by Pool.mu; lane
// never changes.
type member struct {
	pool    *Pool
	lane    *lane.Lane
	laneCfg lane.Config

	group      *Subpool
	class      class
	was        class  // what it was before it began to close
	draining   bool   // closed for newcomers until nothing is due
	retire     string // why it is to be closed rather than kept, once nothing is due
	reason     string // why it was closed
	idleSince  time.Time
	checkedAt  time.Time
	quietSince time.Time // of a lane that was quiet when it was checked
	expires    time.Time // zero: never
	cutAt      time.Time // when it is closed though replies are due; zero: never

	doubts    doubts
	suspicion chan struct{} // of a subscribed conn, capacity 1: another conn's silence casts doubt on it

	lost bool // it ended before the pool closed it

	released bool // its last holder is done with it
	acquired time.Time
	stack    []uintptr // of the holder, with leak detection
	reported bool
}

func (c *member) expired(now time.Time) bool { return !c.expires.IsZero() && now.After(c.expires) }

// lendLocked gives an idle conn to a holder.
func (p *Pool) lendLocked(c *member, to class) {
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

// returnLocked takes a lent conn back from its holder.
func (p *Pool) returnLocked(c *member, reason string) {
	c.released = true
	p.releasedLocked(c)
	p.giveUpLocked(c, reason)
	p.serveLocked()
}

// releasedLocked tells that a lent conn came back.
func (p *Pool) releasedLocked(c *member) {
	if p.cfg.OnEvent == nil {
		return
	}
	lent := c.class
	if lent == closing {
		lent = c.was
	}
	p.emitLocked(Event{Kind: Released, Class: lent.String(), Duration: time.Since(c.acquired)})
}

func (p *Pool) giveUpLocked(c *member, reason string) {
	c.stack = nil
	switch {
	case c.class == closing:
	case reason != "":
		p.closeLocked(c, reason)
	case c.lane.Depth() > 0:
		c.draining = true
		p.later = append(p.later, func() { c.lane.Drain(c.drained) })
	default:
		p.settleLocked(c)
	}
}

// giveBackLocked returns a grant that its waiter does not take.
func (p *Pool) giveBackLocked(c *member, want class) {
	if want == shared {
		p.later = append(p.later, c.lane.Unreserve)
		return
	}
	c.released = true
	p.giveUpLocked(c, "")
}

// closeLocked begins the end of a conn; its slot comes back when the server
// has closed its side.
func (p *Pool) closeLocked(c *member, reason string) {
	p.removeLaneLocked(c)
	if c.reason == "" {
		c.reason = reason
	}
	p.moveLocked(c, closing)
	p.later = append(p.later, func() { c.lane.Fail(closeReason(reason)) })
}

// closeReason is a close on purpose: no failure.
type closeReason string

func (r closeReason) Error() string { return "connection closed: " + string(r) }

// died is called when the lane can't be used any more.
func (c *member) died(l *lane.Lane, cause error) {
	p := c.pool
	p.mu.Lock()
	if c.class != closing {
		if c.retire == "" {
			p.troubleLocked(cause)
			p.afterStallLocked(c, cause)
		}
		if c.class == shared {
			p.statistic.condemned++
			p.emitLocked(Event{Kind: LaneFailed, Class: c.class.String(), Err: cause})
		}
		p.unstackLocked(c)
		p.removeLaneLocked(c)
		c.reason = cause.Error()
		p.moveLocked(c, closing)
		c.lost = true
		p.failFastLocked()
		p.serveLocked()
	}
	p.unlock()
}

// askAfterLocked asks for a conn of a user who has just lost the last one, if somebody works as that user: the server
// may have deleted the user, and then they are told.
func (p *Pool) askAfterLocked(k Identity) {
	if k.User == "" || p.cfg.Wanted == nil || p.hasConnsLocked(k.User) {
		return
	}
	p.later = append(p.later, func() {
		if !p.cfg.Wanted(k.User) {
			return
		}
		p.mu.Lock()
		if !p.closed && !p.suspended && !p.hasConnsLocked(k.User) {
			p.errands++
			go p.askAfter(p.dials, p.groupLocked(k))
		}
		p.unlock()
	})
}

func (p *Pool) askAfter(ctx context.Context, g *Subpool) {
	c, err := p.obtain(ctx, g, shared)
	p.mu.Lock()
	p.errands--
	if err == nil {
		p.giveBackLocked(c, shared)
	}
	p.unlock()
}

// closed is called when the socket is gone on both sides: the slot is free.
func (c *member) closed(l *lane.Lane) {
	p := c.pool
	p.mu.Lock()
	p.count[closing]--
	c.group.count[closing]--
	delete(p.members, l)
	p.statistic.closed++
	p.emitLocked(Event{Kind: Closed, Class: c.was.String(), Duration: time.Since(l.Born), Reason: c.reason})
	p.serveLocked()
	if c.lost {
		p.askAfterLocked(c.group.key)
	}
	p.unlock()
}
