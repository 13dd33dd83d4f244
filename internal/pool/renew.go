package pool

// Renew replaces all conns: idle ones close, lanes drain and close, and lent ones close when they
// come back. So do those that are being recast or checked. why is the reason of their end.
func (p *Pool) Renew(why string) {
	p.mu.Lock()
	defer p.unlock()
	if p.closed || p.suspended {
		return
	}
	for len(p.stack) > 0 {
		p.closeLocked(p.takeOldestLocked(), why)
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
