package pool

import (
	"context"
	"errors"

	"github.com/seed-2b0d76a6/respool/internal/lane"
)

// strangerLocked is the conn of another group than g that was idle longest.
func (p *Pool) strangerLocked(g *Subpool) *member {
	for _, c := range p.stack {
		if c.group != g && c.lane.Depth() >= 0 {
			return c
		}
	}
	return nil
}

// serveFromKinLocked serves w, whose user the server lets in no more, from that user's other conns: an idle one
// is recast, and where there is none a lane drains. With two conns or more a lane is kept, as with slots.
func (p *Pool) serveFromKinLocked(w *waiter) {
	var lane *member
	conns, lanes := 0, 0
	for _, c := range p.members {
		if c.class == closing || c.group.key.User != w.group.key.User {
			continue
		}
		conns++
		switch {
		case c.class == preparing || c.draining:
			return // it is about to be free
		case c.class == idle && c.lane.Depth() >= 0 && p.cfg.SwitchIdentity != nil:
			p.recastLocked(c, w.group)
			return
		case c.class == shared && c.lane.Depth() >= 0:
			if lanes++; lane == nil || w.group.parts(c, lane) {
				lane = c
			}
		}
	}
	if lane != nil && (w.want == shared || lanes > 1 || conns == 1) {
		p.drainLocked(lane, "")
	}
}

// recastLocked begins to turn an idle conn into one of another group.
func (p *Pool) recastLocked(c *member, to *Subpool) {
	from := c.group.key
	p.unstackLocked(c)
	p.moveLocked(c, preparing)
	p.regroupLocked(c, to)
	c.lane.Undrain(nil, lane.NoProof)
	p.errands++
	if from.User != to.key.User {
		to.arriving++
	}
	p.attemptLocked(to.key)
	go p.recast(p.dials, c, from, to)
}

func (p *Pool) recast(ctx context.Context, c *member, from Identity, to *Subpool) {
	var err error
	if p.stale(c) {
		err = p.check(ctx, c.lane, from, lane.Options{})
		condemnSilent(c, err)
	}
	if err == nil {
		err = p.cfg.SwitchIdentity(ctx, c.lane, from, to.key)
	}
	p.mu.Lock()
	p.errands--
	reason := ""
	var is *Remains
	switch {
	case err == nil:
		c.lane.Touch() // else a lane of it looks as if it was of no use for long
		p.statistic.recasts++
		p.acceptedLocked(to.key, from.User == to.key.User)
	case p.refuseLocked(to, err) && errors.As(err, &is):
		p.regroupLocked(c, p.enlistLocked(p.groupLocked(is.Identity)))
	default:
		reason = "it could not be turned into one of another key"
	}
	if from.User != to.key.User {
		to.arriving--
	}
	p.giveUpLocked(c, reason)
	if c.class == idle {
		p.serveGroupLocked(to)
	}
	p.serveLocked()
	p.unlock()
}

// Remains is the error of a Recast after which the conn is well, and one of Key.
type Remains struct {
	Identity Identity
	Err      error
}

func (e *Remains) Error() string { return e.Err.Error() }

// Unwrap gives the cause.
func (e *Remains) Unwrap() error { return e.Err }
