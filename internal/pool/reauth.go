package pool

import (
	"context"
	"sync"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/wire"
)

// Reauth says which conns authenticate again, and how.
type Reauth struct {
	Due func(c *wire.Conn) bool
	// Auth does it, in a turn of its own on the lane. Its failure leaves the conn as it was.
	Auth func(ctx context.Context, l *lane.Lane, opt lane.Options) error
	// Pause is called between two conns.
	Pause func(ctx context.Context)
}

// Reauthenticate has each conn that is due authenticate again, one at a time, so that the other lanes
// carry the commands meanwhile. Those that are lent are waited for beside, since a holder's
// command may block. It returns how many were done, and the failures of the others.
// Subscribed conns are their holder's to do, and those that change their key just now
// are left alone.
func (p *Pool) Reauthenticate(ctx context.Context, r Reauth) (done int, failed []error) {
	var mu sync.Mutex
	count := func(err error) {
		mu.Lock()
		defer mu.Unlock()
		if err == nil {
			done++
		} else {
			failed = append(failed, err)
		}
	}
	var lent sync.WaitGroup
	defer lent.Wait()
	for _, c := range p.dueFor(r.Due) {
		if ctx.Err() != nil {
			break
		}
		switch class, owner := p.beginReauth(c, r.Due); class {
		case preparing: // it was idle
			err := r.Auth(ctx, c.lane, lane.Options{})
			p.mu.Lock()
			p.errands--
			p.giveUpLocked(c, "")
			p.serveLocked()
			p.unlock()
			count(err)
		case shared:
			count(r.Auth(ctx, c.lane, lane.Options{Owner: owner}))
		case dedicated:
			lent.Go(func() { count(r.Auth(ctx, c.lane, lane.Options{})) })
			continue
		default:
			continue
		}
		r.Pause(ctx)
	}
	lent.Wait()
	return done, failed
}

// dueFor lists the conns that are due: those that are lent first, as they may take their time.
func (p *Pool) dueFor(due func(*wire.Conn) bool) []*member {
	p.mu.Lock()
	defer p.mu.Unlock()
	var lent, others []*member
	for _, c := range p.members {
		switch {
		case c.class == closing || !due(c.lane.Conn()):
		case c.class == dedicated:
			lent = append(lent, c)
		default:
			others = append(others, c)
		}
	}
	return append(lent, others...)
}

// beginReauth tells how a conn can be had to authenticate. An idle one is taken out of sight.
func (p *Pool) beginReauth(c *member, due func(*wire.Conn) bool) (class, *Subpool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed || !due(c.lane.Conn()) || c.lane.Depth() < 0:
		return closing, nil
	case c.class == shared && !c.draining, c.class == dedicated && !c.released:
		return c.class, c.group
	case c.class == idle:
		p.unstackLocked(c)
		p.moveLocked(c, preparing)
		c.lane.Undrain(nil, lane.NoProof)
		p.errands++
		return preparing, c.group
	}
	return closing, nil
}

// Earliest is when the first of the conns' credentials end; zero: never.
func (p *Pool) Earliest() (first time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.members {
		if at := c.lane.Conn().Expires(); c.class != closing && !at.IsZero() && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	return first
}

// expiredReason is why conns close that could not authenticate again in time.
const expiredReason = "its credentials have expired"

// ReplaceExpired ends the conns whose credentials have expired: idle and subscribed ones at once, lent
// ones when they come back, and lanes one at a time, the last one of a group once there is
// another, where there is a slot for that. It is called again while there are any.
func (p *Pool) ReplaceExpired(now time.Time) {
	p.mu.Lock()
	defer p.unlock()
	if p.closed || p.suspended {
		return
	}
	p.pass++
	for _, c := range p.members {
		at := c.lane.Conn().Expires()
		if at.IsZero() || at.After(now) {
			continue
		}
		switch c.class {
		case idle:
			p.closeIdleLocked(c, expiredReason)
		case subscribed:
			c.retire = expiredReason
			p.later = append(p.later, func() { c.lane.Fail(closeReason(expiredReason)) })
		case dedicated, preparing, doubted:
			c.retire = expiredReason
		case shared:
			p.replaceLaneLocked(c, expiredReason)
		}
	}
	p.serveLocked()
}

// replaceLaneLocked drains a lane so that it is closed: one in a pass of each group, and the last
// open one once there is another, where there is a slot for that.
func (p *Pool) replaceLaneLocked(c *member, reason string) {
	switch g := c.group; {
	case c.draining || g.pass == p.pass:
	case g.open == 1 && p.usedLocked() < p.max:
		g.pass, g.laneWanted = p.pass, max(g.laneWanted, 1)
	default:
		g.pass = p.pass
		p.drainLocked(c, reason)
	}
}
