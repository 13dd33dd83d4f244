package pool

import "context"

// ReleaseDirty gives the conn back in a state that nobody knows. Config.Restore makes it one of its key again before
// anybody else uses it. Where that can't be, it is closed for the reason given.
func (c *Conn) ReleaseDirty(reason string) {
	p := c.member.pool
	p.mu.Lock()
	defer p.unlock()
	m := c.member
	switch {
	case c.released:
		return
	case p.cfg.Restore == nil || p.closed || p.suspended || m.class == closing || m.retire != "" || m.lane.Depth() != 0:
		c.released = true
		p.returnLocked(m, reason)
		return
	}
	c.released, m.released = true, true
	m.stack = nil
	m.lane.OnPush(nil, false)
	p.releasedLocked(m)
	p.moveLocked(m, preparing)
	p.errands++
	go p.restore(p.dials, m, m.group.key, reason)
	p.serveLocked()
}

func (p *Pool) restore(ctx context.Context, c *member, k Identity, reason string) {
	err := p.cfg.Restore(ctx, c.lane, k)
	p.mu.Lock()
	defer p.unlock()
	p.errands--
	if err == nil {
		reason = ""
	}
	p.giveUpLocked(c, reason)
	if c.class == idle {
		p.serveGroupLocked(c.group)
	}
	p.serveLocked()
}
