package pool

import (
	"slices"
	"time"
)

// Bounds of the interval of the reaper.
const (
	minReap = 10 * time.Millisecond
	maxReap = 10 * time.Second
)

// reapEvery returns a quarter of the shortest limit that the reaper enforces.
func (p *Pool) reapEvery() time.Duration {
	every := time.Duration(0)
	for _, d := range []time.Duration{p.cfg.IdleTimeout, p.cfg.MaxLifetime, p.cfg.LeakThreshold, p.cfg.HealthCheck} {
		if d > 0 && (every == 0 || d/4 < every) {
			every = d / 4
		}
	}
	if every == 0 {
		return 0
	}
	return min(max(every, minReap), maxReap)
}

func (p *Pool) startReaperLocked() {
	if every := p.reapEvery(); every > 0 {
		p.reaper = time.AfterFunc(every, func() { p.reap(every) })
	}
}

func (p *Pool) reap(every time.Duration) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return
	}
	now := time.Now()
	p.reapIdleLocked(now)
	p.reapLanesLocked(now)
	p.reportLeaksLocked(now)
	p.checkHealthLocked(now)
	p.serveLocked()
	p.reaper.Reset(every)
	p.unlock()
}

// reapIdleLocked closes conns that were idle too long or are too old, oldest first. It keeps MinIdle idle conns of
// the zero identity.
func (p *Pool) reapIdleLocked(now time.Time) {
	for _, c := range slices.Clone(p.idle.all()) {
		spare := c.subpool != &p.zero || p.zero.count[idle] > p.cfg.MinIdle
		switch {
		case c.expired(now):
			p.closeIdleLocked(c, "maximum lifetime")
		case spare && p.cfg.IdleTimeout > 0 && now.Sub(c.idleSince) > p.cfg.IdleTimeout:
			p.closeIdleLocked(c, "idle timeout")
		}
	}
}

// reapLanesLocked replaces lanes whose lifetime is over, one per run and subpool. It opens a replacement of the last
// lane before it drains that lane, if a place is free. It closes unused lanes, except those of the client's own identity:
// other identities may never be used again.
func (p *Pool) reapLanesLocked(now time.Time) {
	p.pass++
	for _, c := range p.lanes {
		g := c.subpool
		switch {
		case c.draining:
		case !g.identity.own() && p.cfg.IdleTimeout > 0 && c.lane.Depth() == 0 && now.Sub(c.usedAt()) > p.cfg.IdleTimeout:
			p.drainLocked(c, "idle timeout")
		case c.expired(now):
			p.replaceLaneLocked(c, "maximum lifetime")
		}
	}
}

func (p *Pool) reportLeaksLocked(now time.Time) {
	if p.cfg.LeakThreshold <= 0 {
		return
	}
	for _, c := range p.members {
		held := now.Sub(c.acquired)
		if c.class != dedicated || c.released || c.reported || c.stack == nil || held <= p.cfg.LeakThreshold {
			continue
		}
		c.reported = true
		p.statistic.leaks++
		p.emitLocked(Event{Kind: LeakSuspected, Class: c.class.String(), Duration: held, Stack: stackText(c.stack)})
	}
}

// checkHealthLocked pings the conns that received nothing for the interval, so it costs nothing under load. A lane
// without a reply becomes suspect. Nobody else uses an idle conn during its ping.
func (p *Pool) checkHealthLocked(now time.Time) {
	if p.cfg.HealthCheck <= 0 {
		return
	}
	due := func(c *member) bool {
		return now.Sub(c.lane.HeardAt()) >= p.cfg.HealthCheck && now.Sub(c.checkedAt) >= p.cfg.HealthCheck
	}
	for _, c := range p.lanes {
		if !c.draining && !c.doubts.pinged && due(c) {
			c.quietSince = c.usedAt()
			c.checkedAt = now
			p.pingLaneLocked(c, false)
		}
	}
	for _, c := range slices.Clone(p.idle.all()) {
		if due(c) && c.lane.Depth() >= 0 {
			c.checkedAt = now
			p.checkIdleLocked(c, preparing)
		}
	}
}
