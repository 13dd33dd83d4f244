package pool

import (
	"context"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/lane"
)

// Bounds of the time between two rounds of the reaper.
const (
	minReap = 10 * time.Millisecond
	maxReap = 10 * time.Second
)

// reapEvery is a quarter of the shortest limit that the reaper enforces.
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

// reapIdleLocked closes conns that were idle or lived too long, the oldest
// first, and keeps MinIdle of the former.
func (p *Pool) reapIdleLocked(now time.Time) {
	for _, g := range p.groups {
		spare := len(g.stack)
		if g == p.base {
			spare -= p.cfg.MinIdle
		}
		g.reapIdleLocked(now, spare)
	}
}

func (g *Group) reapIdleLocked(now time.Time, spare int) {
	p := g.p
	kept := g.stack[:0]
	for _, c := range g.stack {
		switch {
		case c.expired(now):
			p.closeLocked(c, "maximum lifetime")
			spare--
		case spare > 0 && p.cfg.IdleTimeout > 0 && now.Sub(c.idleSince) > p.cfg.IdleTimeout:
			p.closeLocked(c, "idle timeout")
			spare--
		default:
			kept = append(kept, c)
		}
	}
	clear(g.stack[len(kept):])
	g.stack = kept
}

// reapLanesLocked renews lanes whose lifetime is over, one a round. The last
// open one is replaced before it drains, where there is a slot for that.
func (p *Pool) reapLanesLocked(now time.Time) {
	for _, c := range p.lanesLocked() {
		if c.draining || !c.expired(now) {
			continue
		}
		if g := c.group; g.openLanesLocked() == 1 && p.usedLocked() < p.max {
			g.laneWanted = max(g.laneWanted, 1)
		} else {
			p.drainLocked(c, "maximum lifetime")
		}
		return
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

// checkHealthLocked pings what was quiet for the interval. A server that does
// not answer stalls the lane, and that condemns it. An idle conn is lent to
// its check meanwhile, so that nobody else's commands meet the ping.
func (p *Pool) checkHealthLocked(now time.Time) {
	if p.cfg.HealthCheck <= 0 {
		return
	}
	due := func(c *Conn) bool {
		return now.Sub(c.lane.UsedAt()) >= p.cfg.HealthCheck && now.Sub(c.checkedAt) >= p.cfg.HealthCheck
	}
	for _, c := range p.members {
		switch {
		case !due(c):
		case c.class == shared && !c.draining:
			c.checkedAt = now
			go ping(c.lane)
		case c.class == idle && p.lentLocked() < p.maxLentLocked():
			c.checkedAt = now
			c.group.dropLocked(c)
			p.lendLocked(c, dedicated)
			go func() {
				ping(c.lane)
				c.Release()
			}()
		}
	}
}

func ping(l *lane.Lane) {
	_, _ = l.Do(context.Background(), []any{"PING"}, lane.Options{})
}
