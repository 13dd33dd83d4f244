package pool

import (
	"context"

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
	p.moveLocked(c, recasting)
	p.regroupLocked(c, to)
	c.lane.Undrain(nil, lane.NoProof)
	p.recasters++
	go p.recast(p.dials, c, from, to)
}

func (p *Pool) recast(ctx context.Context, c *member, from Key, to *Group) {
	err := p.cfg.Recast(ctx, c.lane, from, to.key)
	p.mu.Lock()
	p.recasters--
	reason := ""
	if err != nil {
		reason = "it could not be turned into one of another key"
		to.refusedLocked(err)
	} else {
		c.lane.Touch() // else a lane of it looks as if it was of no use for long
		p.statistic.recasts++
	}
	p.giveUpLocked(c, reason)
	if c.class == idle {
		p.serveGroupLocked(to)
	}
	p.serveLocked()
	p.unlock()
}
