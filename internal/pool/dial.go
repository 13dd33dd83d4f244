package pool

import (
	"context"
	"math"
	"math/rand/v2"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/wire"
)

// spread is the longest random delay of a dial without a waiter. It prevents many clients that start together from
// dialing at the same time.
const spread = 20 * time.Millisecond

// newDialsLocked creates the ctx of future dials.
func (p *Pool) newDialsLocked() { p.dials, p.cancel = context.WithCancel(context.Background()) }

// dialsWantedLocked returns how many more dials g needs, including those without a waiter.
func (p *Pool) dialsWantedLocked(g *Subpool) int {
	lanes := g.laneWanted
	if g.waitLane.Len() > 0 && g.open == 0 {
		lanes++
	}
	free := p.maxLeasedLocked() - p.leasedLocked()
	conns := 0
	for w, n := p.line.forConn.First(), free; w != nil && n > 0; w, n = w.Next(), n-1 {
		if w.subpool == g {
			conns++
		}
	}
	if g == &p.zero && p.started {
		conns = max(conns, p.cfg.MinIdle-g.count[idle])
	}
	conns = min(conns, free-p.count[idle])
	return lanes + max(conns, 0) - g.comingLocked()
}

// dialWantedLocked starts the dials without a waiter. The dials for waiters have started already.
func (p *Pool) dialWantedLocked() {
	if !p.roomLikelyLocked() {
		return
	}
	p.dialForLocked(&p.zero)
	p.dialForLocked(&p.readers)
	for _, c := range p.lanes { // another subpool without a lane has waiters instead, or a dial in flight
		if c.subpool.laneWanted > 0 && !c.subpool.identity.own() {
			p.dialForLocked(c.subpool)
		}
	}
}

func (p *Pool) dialForLocked(g *Subpool) {
	for n := p.dialsWantedLocked(g); n > 0 && p.roomLocked() && p.dialLocked(g); n-- {
	}
}

// dialLocked starts a dial, if the bound, DialParallel, the rate and the backoff allow it.
func (p *Pool) dialLocked(g *Subpool) bool {
	if p.placesTakenLocked() >= p.allowed || p.gate.full() {
		return false
	}
	pause, refused := p.refusals.of(g.identity)
	if pause > 0 {
		p.wake.within(pause)
		return false
	}
	others := p.gate.inFlight
	wait, ok := p.gate.begin(refused != nil)
	if !ok {
		if wait > 0 {
			p.wake.within(wait)
		}
		return false
	}
	var delay time.Duration
	if p.line.waiting == 0 && others > 0 {
		delay = rand.N(spread)
	}
	g.dialing++
	p.refusals.attempted(g.identity)
	go p.dial(p.dials, g, p.generationLocked(g), delay)
	return true
}

// serveAgain runs when a dial may be allowed.
func (p *Pool) serveAgain() {
	p.mu.Lock()
	p.wake.ring()
	p.serveLocked()
	p.unlock()
}

// dial opens one conn for a subpool. It belongs to no caller: the first waiter of the subpool gets it.
func (p *Pool) dial(ctx context.Context, g *Subpool, generation int, delay time.Duration) {
	if delay > 0 {
		select {
		case <-time.After(delay):
		case <-ctx.Done():
		}
	}
	began := time.Now()
	conn, err := p.dialTo.Load().Dial(ctx, p.cut, g.identity)
	took := time.Since(began)

	p.mu.Lock()
	p.gate.end()
	g.dialing--
	over := p.closed || generation != p.generationLocked(g)
	switch {
	case err == nil:
		p.dialedLocked(g, conn, took, over)
	case !over:
		p.dialFailedLocked(g, err, took)
	}
	p.forgetLocked(g)
	p.notifyLocked()
	p.serveLocked()
	p.unlock()
}

// notifyLocked wakes the goroutines that wait for a change.
func (p *Pool) notifyLocked() {
	for _, ch := range p.watchers {
		close(ch)
	}
	p.watchers = nil
}

func (p *Pool) dialFailedLocked(g *Subpool, err error, took time.Duration) {
	p.statistic.dialFailures++
	p.emitLocked(Event{Kind: DialFailed, Duration: took, Err: err})
	if p.refuseLocked(g, err) {
		return
	}
	p.gate.failed(err)
	p.cancelWantedLanesLocked()
	p.troubleLocked(err)
	p.failFastLocked()
}

// cancelWantedLanesLocked cancels the lanes that nobody waits for.
func (p *Pool) cancelWantedLanesLocked() {
	for _, g := range p.subpools {
		g.laneWanted = 0
	}
}

// failFastLocked fails all waiters if no conn is left, no dial is in flight, and the backoff allows none.
func (p *Pool) failFastLocked() {
	if p.liveLocked() == 0 && p.gate.inFlight == 0 && p.gate.pausing() {
		p.failWaitersLocked(p.gate.lastError)
	}
}

// addDialedLocked adds a new conn to the ledger. over: the dial finished too late; it closes the conn and returns nil.
func (p *Pool) addDialedLocked(g *Subpool, conn *wire.Conn, took time.Duration, over bool) *member {
	p.statistic.dials++
	p.emitLocked(Event{Kind: Dialed, Duration: took})
	c := p.adoptLocked(g, conn)
	if p.closed {
		p.closeLocked(c, "the client was closed")
		return nil
	}
	if over {
		p.closeLocked(c, retirement)
		return nil
	}
	p.gate.succeeded()
	p.refusals.accepted(g.identity, false)
	return c
}

// dialedLocked assigns a new conn of g.
func (p *Pool) dialedLocked(g *Subpool, conn *wire.Conn, took time.Duration, over bool) {
	c := p.addDialedLocked(g, conn, took, over)
	if c == nil {
		return
	}
	p.idle.push(c)
	if g.laneWanted > 0 && p.line.waiting == g.waitLane.Len() {
		if c := p.popIdleLocked(g); c != nil {
			g.laneWanted--
			p.shareLocked(c)
		}
		return
	}
	p.serveSubpoolLocked(g)
}

// adoptLocked adds a conn to the ledger as idle.
func (p *Pool) adoptLocked(g *Subpool, conn *wire.Conn) *member {
	now := time.Now()
	c := &member{pool: p, subpool: g, accepted: g.identity, class: idle, idleSince: now}
	if life := p.cfg.MaxLifetime; life > 0 {
		// Random, so that conns of the same age do not close together.
		c.expires = now.Add(life - rand.N(life/10+1))
	}
	c.laneCfg = p.cfg.Lane
	c.laneCfg.OnDead, c.laneCfg.OnClosed, c.laneCfg.OnSuspect = c.died, c.closed, c.suspected
	c.lane = lane.New(conn, &c.laneCfg)
	p.addLocked(c)
	return c
}

// Warm opens the lanes and idle conns that the configuration keeps ready. It blocks until they are open or ctx ends,
// and returns the first failure.
func (p *Pool) Warm(ctx context.Context) error { return p.WarmLanes(ctx, math.MaxInt) }

// WarmLanes is Warm for some of the lanes: callers open the others when they need them.
func (p *Pool) WarmLanes(ctx context.Context, most int) error { return p.zero.WarmLanes(ctx, most) }

// WarmLanes opens some of the lanes that the configuration keeps ready, of the client's own identity, and the idle conns of
// the zero identity. It blocks until they are open or ctx ends, and returns the first failure. If no place is free, it
// returns without an error.
func (g *Subpool) WarmLanes(ctx context.Context, most int) error {
	p := g.pool
	p.mu.Lock()
	p.started = p.started || g == &p.zero
	for {
		if err := p.refuseDialLocked(g); err != nil {
			p.mu.Unlock()
			return err
		}
		idles := 0
		if g == &p.zero {
			idles = p.cfg.MinIdle
		}
		lanes := min(p.laneLimit, most, max(1, p.allowed-idles)) - g.open
		idles -= g.count[idle]
		if lanes <= 0 && idles <= 0 || !p.roomLikelyLocked() && p.gate.inFlight == 0 {
			p.unlock()
			return nil
		}
		g.laneWanted = max(g.laneWanted, lanes)
		p.serveLocked()
		if p.gate.inFlight == 0 && !p.gate.pausing() && !p.roomLikelyLocked() {
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
			return &wire.Error{Op: "warm up", Addr: p.dialTo.Load().Addr, Err: ctx.Err()}
		}
		p.mu.Lock()
		if err := p.gate.lastError; err != nil && p.statistic.dialFailures > failures {
			p.unlock()
			return err
		}
	}
}
