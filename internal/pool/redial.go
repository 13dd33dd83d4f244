package pool

// Redial closes all conns, so that new ones are dialed. Idle ones close at once. Lanes drain first. Leased ones close
// when they are returned, as do those that switch identity or are checked now. why is the reason in their events.
func (p *Pool) Redial(why string) {
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
