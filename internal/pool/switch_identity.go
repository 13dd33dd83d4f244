package pool

import (
	"context"
	"errors"

	"github.com/seed-2b0d76a6/respool/internal/lane"
)

// serveFromOwnUserLocked serves w, whose user the server refuses, from that user's remaining conns. It switches an
// idle one, or else drains a lane. With two or more conns, one lane is kept.
func (p *Pool) serveFromOwnUserLocked(w *waiter) {
	var lane *member
	conns, lanes := 0, 0
	for _, c := range p.members {
		if c.class == closing || c.subpool.identity.User != w.subpool.identity.User {
			continue
		}
		conns++
		switch {
		case c.class == preparing || c.draining:
			return // a conn will be free soon
		case c.class == idle && c.lane.Depth() >= 0 && p.cfg.SwitchIdentity != nil:
			p.switchIdentityLocked(c, w.subpool)
			return
		case c.class == shared && c.lane.Depth() >= 0:
			if lanes++; lane == nil || w.subpool.betterVictim(c, lane) {
				lane = c
			}
		}
	}
	if lane != nil && (w.want == shared || lanes > 1 || conns == 1) {
		p.drainLocked(lane, "")
	}
}

// switchIdentityLocked starts to switch an idle conn to another subpool, on a new goroutine.
func (p *Pool) switchIdentityLocked(c *member, to *Subpool) {
	from := c.subpool.identity
	p.idle.remove(c)
	p.moveLocked(c, preparing)
	p.moveToSubpoolLocked(c, to)
	c.lane.Undrain(nil, lane.NoProof)
	p.goroutines++
	if from.User != to.identity.User {
		to.arriving++
	}
	p.refusals.attempted(to.identity)
	go p.switchIdentity(p.dials, c, from, to)
}

func (p *Pool) switchIdentity(ctx context.Context, c *member, from Identity, to *Subpool) {
	var err error
	if p.stale(c) {
		err = p.check(ctx, c.lane, from, lane.Options{})
		failSilent(c, err)
	}
	if err == nil {
		err = p.cfg.SwitchIdentity(ctx, c.lane, from, to.identity)
	}
	p.mu.Lock()
	p.goroutines--
	reason := ""
	var is *Remains
	switch {
	case err == nil:
		c.accepted = to.identity
		c.lane.Touch() // else its lane would look unused for long
		p.statistic.switches++
		p.refusals.accepted(to.identity, from.User == to.identity.User)
	case p.refuseLocked(to, err) && errors.As(err, &is):
		c.accepted = is.Identity
		p.moveToSubpoolLocked(c, p.enlistLocked(p.subpoolLocked(is.Identity)))
	default:
		reason = "it could not switch to another identity"
	}
	if from.User != to.identity.User {
		to.arriving--
	}
	p.endUseLocked(c, reason)
	if c.class == idle {
		p.serveSubpoolLocked(to)
	}
	p.serveLocked()
	p.unlock()
}

// Remains is the error of a SwitchIdentity after which the conn is usable and has Identity.
type Remains struct {
	Identity Identity
	Err      error
}

func (e *Remains) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *Remains) Unwrap() error { return e.Err }
