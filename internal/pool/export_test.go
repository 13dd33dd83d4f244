package pool

import "github.com/seed-2b0d76a6/respool/internal/lane"

// Refusals is how many refusals the pool remembers.
func (p *Pool) Refusals() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.refusals.all)
}

// DelayDead calls wait before OnDead of the conn's lane.
func (c *Conn) DelayDead(wait func()) {
	m := c.member
	m.laneCfg.OnDead = func(l *lane.Lane, cause error) {
		wait()
		m.died(l, cause)
	}
}
