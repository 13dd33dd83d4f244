package pool

import (
	"context"
	"sync"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/wire"
)

// Reauth selects the conns that authenticate again, and the way.
type Reauth struct {
	Due func(c *wire.Conn) bool
	// Auth sends AUTH while the lane has no other command. After a failure the conn is unchanged.
	Auth func(ctx context.Context, l *lane.Lane, opt lane.Options) error
	// Pause is called between two conns.
	Pause func(ctx context.Context)
}

// Reauthenticate authenticates each due conn again, one at a time, so that the other lanes carry the commands
// meanwhile. Leased conns run in parallel, because a holder's command may block. It returns the number of successes,
// and the failures. It skips subscribed conns, which their holder authenticates, and conns that switch identity now.
// It blocks until all are done or ctx ends.
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
	var leased sync.WaitGroup
	defer leased.Wait()
	for _, c := range p.dueFor(r.Due) {
		if ctx.Err() != nil {
			break
		}
		switch class, owner := p.beginReauth(c, r.Due); class {
		case preparing: // was idle
			err := r.Auth(ctx, c.lane, lane.Options{})
			p.mu.Lock()
			p.goroutines--
			p.endUseLocked(c, "")
			p.serveLocked()
			p.unlock()
			count(err)
		case shared:
			count(r.Auth(ctx, c.lane, lane.Options{Owner: owner}))
		case dedicated:
			leased.Go(func() { count(r.Auth(ctx, c.lane, lane.Options{})) })
			continue
		default:
			continue
		}
		r.Pause(ctx)
	}
	leased.Wait()
	return done, failed
}

// dueFor returns the due conns, leased ones first, because they may take longest.
func (p *Pool) dueFor(due func(*wire.Conn) bool) []*member {
	p.mu.Lock()
	defer p.mu.Unlock()
	var leased, others []*member
	for _, c := range p.members {
		switch {
		case c.class == closing || !due(c.lane.Conn()):
		case c.class == dedicated:
			leased = append(leased, c)
		default:
			others = append(others, c)
		}
	}
	return append(leased, others...)
}

// beginReauth returns how a conn can authenticate. It takes an idle conn out of use.
func (p *Pool) beginReauth(c *member, due func(*wire.Conn) bool) (class, *Subpool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed || !due(c.lane.Conn()) || c.lane.Depth() < 0:
		return closing, nil
	case c.class == shared && !c.draining, c.class == dedicated && !c.released:
		return c.class, c.subpool
	case c.class == idle:
		p.idle.remove(c)
		p.moveLocked(c, preparing)
		c.lane.Undrain(nil, lane.NoProof)
		p.goroutines++
		return preparing, c.subpool
	}
	return closing, nil
}

// Earliest returns the time when the first credentials of a conn expire; zero: never.
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

// expiredReason is the reason for closing conns that did not authenticate again in time.
const expiredReason = "its credentials have expired"

// ReplaceExpired closes the conns whose credentials have expired: idle and subscribed ones at once, leased ones when
// they are returned, and lanes one at a time. The last lane of a subpool closes after its replacement is open, if a
// place is free. The caller repeats the call while expired conns exist.
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
			p.calls.add(func() { c.lane.Fail(closeReason(expiredReason)) })
		case dedicated, preparing, doubted:
			c.retire = expiredReason
		case shared:
			p.replaceLaneLocked(c, expiredReason)
		}
	}
	p.serveLocked()
}

// replaceLaneLocked drains and closes a lane: one per pass and subpool. The last open lane waits for its replacement,
// if a place is free.
func (p *Pool) replaceLaneLocked(c *member, reason string) {
	switch g := c.subpool; {
	case c.draining || g.pass == p.pass:
	case g.open == 1 && p.roomLocked():
		g.pass, g.laneWanted = p.pass, max(g.laneWanted, 1)
	default:
		g.pass = p.pass
		p.drainLocked(c, reason)
	}
}

// Redial closes all conns, so that new ones are dialed. Idle ones close at once. Lanes drain first. Leased ones close
// when they are returned, as do those that switch identity or are checked now. why is the reason in their events.
func (p *Pool) Redial(why string) {
	p.mu.Lock()
	defer p.unlock()
	if p.closed || p.suspended {
		return
	}
	for p.idle.len() > 0 {
		p.closeLocked(p.idle.popBottom(), why)
	}
	for _, c := range p.members {
		switch c.class {
		case shared:
			if c.retire = why; !c.draining {
				p.drainLocked(c, why)
			}
		case dedicated, subscribed, preparing, doubted:
			c.retire = why
		}
	}
	p.serveLocked()
}
