package pool

import "context"

// ReleaseDirty returns a conn in an unknown state. Config.Restore restores it before another caller uses it. If that
// is not possible, the conn closes with the given reason.
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
	p.goroutines++
	go p.restore(p.dials, m, m.subpool.identity, reason)
	p.serveLocked()
}

func (p *Pool) restore(ctx context.Context, c *member, k Identity, reason string) {
	err := p.cfg.Restore(ctx, c.lane, k)
	p.mu.Lock()
	defer p.unlock()
	p.goroutines--
	if err == nil {
		reason = ""
	}
	p.giveUpLocked(c, reason)
	if c.class == idle {
		p.serveSubpoolLocked(c.subpool)
	}
	p.serveLocked()
}
