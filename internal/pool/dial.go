package pool

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/wire"
)

// spread is the longest random delay, in time, of a dial that nobody waits
// for: fleets that start together do not dial in step.
const spread = 20 * time.Millisecond

// newDialsLocked gives the dials to come a ctx.
func (p *Pool) newDialsLocked() { p.dials, p.cancel = context.WithCancel(context.Background()) }

// neededLocked is how many dials should be under way for the group beside those
// that are.
func (g *Group) neededLocked() int {
	p := g.p
	lanes := g.laneWanted
	if g.waitLane.n > 0 && g.openLaneLocked() == nil {
		lanes++
	}
	conns := g.waitConn.n
	if p.started && g == p.base {
		conns = max(conns, p.cfg.MinIdle-len(g.stack))
	}
	conns = min(conns, p.maxLentLocked()-p.lentLocked()-len(g.stack))
	return lanes + max(conns, 0) - g.dialing - g.turning
}

// dialLocked begins the dials that are needed, as far as the bound, the
// number of parallel dials, the rate and the backoff allow.
func (p *Pool) dialLocked() {
	for _, g := range p.byAgeLocked() {
		for n := g.neededLocked(); n > 0 && p.usedLocked() < p.max && p.dialing < p.cfg.DialParallel; n-- {
			wait, ok := p.backoff.take(p.dialing)
			if !ok {
				if wait > 0 {
					p.serveAgainLocked(wait)
				}
				return
			}
			var delay time.Duration
			if g.waiting() == 0 && p.dialing > 0 {
				delay = rand.N(spread)
			}
			if p.dialing == 0 {
				p.dialsSince = time.Now()
			}
			p.dialing++
			g.dialing++
			go p.dial(p.dials, g, p.generation, delay)
		}
	}
}

func (p *Pool) serveAgainLocked(after time.Duration) {
	if p.wake != nil {
		p.wake.Reset(after)
		return
	}
	p.wake = time.AfterFunc(after, func() {
		p.mu.Lock()
		p.serveLocked()
		p.unlock()
	})
}

// dial makes one conn. It belongs to no caller: whoever waits longest when it
// is there gets it.
func (p *Pool) dial(ctx context.Context, g *Group, generation int, delay time.Duration) {
	if delay > 0 {
		select {
		case <-time.After(delay):
		case <-ctx.Done():
		}
	}
	began := time.Now()
	conn, err := p.cfg.Dial(ctx, p.cut, g.key)
	took := time.Since(began)

	p.mu.Lock()
	p.dialing--
	g.dialing--
	over := p.closed || generation != p.generation
	switch {
	case err == nil:
		p.dialedLocked(conn, g, took, over)
	case !over:
		p.dialFailedLocked(err, g, took)
	}
	p.notifyLocked()
	p.serveLocked()
	p.unlock()
}

// notifyLocked tells Warm to look again.
func (p *Pool) notifyLocked() {
	for _, ch := range p.watchers {
		close(ch)
	}
	p.watchers = nil
}

func (p *Pool) dialFailedLocked(err error, g *Group, took time.Duration) {
	p.statistic.dialFailures++
	if g != p.base && keyed(err) {
		g.failLocked(err)
		return
	}
	p.backoff.failed(err)
	for _, g := range p.groups {
		g.laneWanted = 0
	}
	p.emitLocked(Event{Kind: DialFailed, Duration: took, Err: err})
	p.troubleLocked(err)
	p.failFastLocked()
}

// failFastLocked fails those who wait for a node that is down: while no conn
// is left and none may be dialed, there is nothing to wait for.
func (p *Pool) failFastLocked() {
	if p.liveLocked() == 0 && p.dialing == 0 && p.backoff.waits() {
		p.failWaitersLocked(p.backoff.last)
	}
}

// dialedLocked takes a conn in; over says that it comes too late to be used.
func (p *Pool) dialedLocked(conn *wire.Conn, g *Group, took time.Duration, over bool) {
	p.statistic.dials++
	p.emitLocked(Event{Kind: Dialed, Duration: took})
	c := p.adoptLocked(conn, g)
	if p.closed {
		p.closeLocked(c, "the client was closed")
		return
	}
	if over {
		p.closeLocked(c, retirement)
		return
	}
	p.backoff.succeeded()
	g = c.group
	g.stack = append(g.stack, c)
	if g.laneWanted > 0 && g.waitConn.n == 0 {
		g.laneWanted--
		g.shareLocked(g.popLocked())
	}
}

// adoptLocked makes a conn a member of the ledger, idle.
func (p *Pool) adoptLocked(conn *wire.Conn, g *Group) *Conn {
	now := time.Now()
	c := &Conn{pool: p, group: g.listedLocked(), class: idle, idleSince: now}
	if life := p.cfg.MaxLifetime; life > 0 {
		// Jitter, so that conns of one age do not go as one.
		c.expires = now.Add(life - rand.N(life/10+1))
	}
	c.laneCfg = p.cfg.Lane
	c.laneCfg.OnDead, c.laneCfg.OnClosed = c.died, c.closed
	c.lane = lane.New(conn, &c.laneCfg)
	p.members[c.lane] = c
	p.count[idle]++
	return c
}

// Warm opens the lanes and the idle conns that the pool should have, and
// waits for them until ctx ends. It returns the first failure.
func (p *Pool) Warm(ctx context.Context) error {
	p.mu.Lock()
	p.started = true
	for {
		if err := p.refusalLocked(); err != nil {
			p.mu.Unlock()
			return err
		}
		g := p.base
		lanes := min(p.cfg.Lanes, max(1, p.max-p.cfg.MinIdle)) - g.openLanesLocked()
		idles := p.cfg.MinIdle - len(g.stack)
		if lanes <= 0 && idles <= 0 || p.usedLocked() >= p.max && p.dialing == 0 {
			p.unlock()
			return nil
		}
		g.laneWanted = max(g.laneWanted, lanes)
		p.serveLocked()
		if p.dialing == 0 && !p.backoff.waits() && p.usedLocked() >= p.max {
			p.unlock()
			return nil
		}
		changed := make(chan struct{})
		p.watchers = append(p.watchers, changed)
		failures := p.statistic.dialFailures
		p.unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return &wire.Error{Op: "warm up", Addr: p.cfg.Addr, Err: ctx.Err()}
		}
		p.mu.Lock()
		if p.statistic.dialFailures > failures && p.backoff.last != nil {
			err := p.backoff.last
			p.unlock()
			return err
		}
	}
}
