package pool

import (
	"context"
	"errors"

	"github.com/seed-2b0d76a6/respool/internal/lane"
)

// strangerLocked is the conn of another group than g that was idle longest.
func (p *Pool) strangerLocked(g *Group) *member {
	for _, c := range p.stack {
		if c.group != g && c.lane.Depth() >= 0 {
			return c
		}
	}
	return nil
}

// recastLocked begins to turn an idle conn into one of another group.
func (p *Pool) recastLocked(c *member, to *Group) {
	from := c.group.key
	p.unstackLocked(c)
	p.moveLocked(c, preparing)
	p.regroupLocked(c, to)
	c.lane.Undrain(nil, lane.NoProof)
	p.errands++
	p.attemptLocked(to.key)
	go p.recast(p.dials, c, from, to)
}

func (p *Pool) recast(ctx context.Context, c *member, from Key, to *Group) {
	var err error
	if p.stale(c) {
		err = p.check(ctx, c.lane, from, lane.Options{})
		condemnSilent(c, err)
	}
	if err == nil {
		err = p.cfg.Recast(ctx, c.lane, from, to.key)
	}
	p.mu.Lock()
	p.errands--
	reason := ""
	var is *Remains
	switch {
	case err == nil:
		c.lane.Touch() // else a lane of it looks as if it was of no use for long
		p.statistic.recasts++
		p.acceptedLocked(to.key)
	case p.refuseLocked(to, err) && errors.As(err, &is):
		p.regroupLocked(c, p.enlistLocked(p.groupLocked(is.Key)))
	default:
		reason = "it could not be turned into one of another key"
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
	Key Key
	Err error
}

func (e *Remains) Error() string { return e.Err.Error() }

// Unwrap gives the cause.
func (e *Remains) Unwrap() error { return e.Err }
