package pool

import (
	"context"
	"math"

	"github.com/seed-2b0d76a6/respool/internal/lane"
)

// Weight is the class of a command by the size of its arguments and reply.
type Weight uint8

// The weights. Small and Large use separate halves of the lanes. Any applies while no large reply is known.
const (
	Any Weight = iota
	Small
	Large
)

// packed is the number of pending replies up to which callers use the first lane. Large writes and reads cost least.
const packed = 1024

// Pick is Subpool.Pick of the zero identity.
func (p *Pool) Pick(w Weight) *lane.Lane { return p.zero.Pick(w) }

// Pick returns a lane for one command: the first with fewer than packed pending replies, else the lane with the
// fewest. For Large it is always the lane with the fewest. It takes no lock and does not block. It returns nil if
// there is no open lane: then Shared waits for one. Requests on the lane must set Owner in their options, because the
// lane may belong to another subpool by then.
func (g *Subpool) Pick(w Weight) *lane.Lane {
	lanes := *g.view.Load()
	most, apart := packed, false
	if half := len(lanes) / 2; w == Large {
		lanes, most, apart = lanes[half:], 1, half == 0
	} else if w == Small && half > 0 {
		lanes = lanes[:half]
	}
	var best *lane.Lane
	least := 0
	for _, l := range lanes {
		d := l.Load()
		if d >= 0 && (best == nil || d < least) {
			best, least = l, d
			if d < most {
				break
			}
		}
	}
	if best == nil {
		if heir := g.successor.Load(); heir != nil {
			return heir.Pick(w)
		}
		return nil
	}
	if (apart || least >= most) && g.mayGrow.Load() {
		if least >= most {
			g.grow(math.MaxInt)
		} else {
			g.grow(2)
		}
	}
	return best
}

// Loop is an event loop that drives lanes. The loops of a program divide the lanes of a subpool, so that they do not
// contend for the lanes' locks. The zero Loop is a caller without a loop.
type Loop struct {
	Number int // as of lane.Driver
	Of     int // number of loops
}

// PickFor is Pick of Any for a loop. A loop uses the lanes whose home it is. As long as they are busy and fewer than its
// share, it also uses lanes without a home, and requests another lane if there is none. A loop without a usable lane
// uses those of other loops. For a user other than the client's own, such a loop requests a lane only if all are busy:
// many users share few places.
func (g *Subpool) PickFor(loop Loop) *lane.Lane {
	if loop.Of <= 1 {
		return g.Pick(Any)
	}
	lanes := *g.view.Load()
	var own, free *lane.Lane
	owned, least := 0, 0
	for _, l := range lanes {
		switch l.Home() {
		case loop.Number:
			d := l.Load()
			if d >= 0 && d < packed {
				return l
			}
			if owned++; d >= 0 && (own == nil || d < least) {
				own, least = l, d
			}
		case 0:
			if d := l.Load(); free == nil && d >= 0 && d < packed {
				free = l
			}
		}
	}
	if owned < max(1, int(g.pool.mostLanes.Load())/loop.Of) {
		if free != nil {
			return free
		}
		if own != nil || g.identity.User == "" {
			g.growForLoop(len(lanes))
		}
	}
	if own != nil && !own.Avoided() {
		return own
	}
	return g.pickOther(lanes, loop)
}

// PickLarge returns the lane for commands with large replies: one more than the loops need, so that small replies do not wait
// behind them. It returns nil if there is none, and requests it. It takes no lock otherwise, and does not block.
func (g *Subpool) PickLarge(loop Loop) *lane.Lane {
	lanes := *g.view.Load()
	if len(lanes) <= max(1, loop.Of) {
		g.growForLoop(len(lanes))
		return nil
	}
	if l := lanes[len(lanes)-1]; l.Load() >= 0 && !l.Avoided() {
		return l
	}
	return nil
}

// pickOther returns a lane of any loop. Loops without lanes spread over those of others.
func (g *Subpool) pickOther(lanes []*lane.Lane, loop Loop) *lane.Lane {
	var best *lane.Lane
	least := 0
	for i := range lanes {
		l := lanes[(loop.Number+i)%len(lanes)]
		d := l.Load()
		if d >= 0 && (best == nil || d < least) {
			best, least = l, d
			if d < packed {
				return l
			}
		}
	}
	switch heir := g.successor.Load(); {
	case best != nil:
		g.growForLoop(len(lanes))
	case heir != nil:
		return heir.PickFor(loop)
	}
	return best
}

// growForLoop requests another lane beyond those that are open, unless one is requested already.
func (g *Subpool) growForLoop(open int) {
	if g.mayGrow.Load() && !g.growing.Load() {
		g.grow(open + 1)
	}
}

// Wish requests a lane for later callers, if the subpool has none and a place is free. It does not block.
func (g *Subpool) Wish() {
	p := g.pool
	p.mu.Lock()
	defer p.unlock()
	if g.open > 0 || g.dialing > 0 || p.refuseDialLocked(g) != nil {
		return
	}
	g = p.enlistLocked(g)
	if g.waiting == 0 {
		if c := p.popIdleLocked(g); c != nil {
			p.shareLocked(c)
			return
		}
	}
	if p.roomLocked() && p.dialLocked(g) {
		g.laneWanted = 1
	}
	p.forgetLocked(g)
	p.serveLocked()
}

// Growing reports whether a dial for the subpool is in flight.
func (g *Subpool) Growing() bool {
	if heir := g.successor.Load(); heir != nil {
		return heir.Growing()
	}
	g.pool.mu.Lock()
	defer g.pool.mu.Unlock()
	return g.dialing > 0
}

// AwaitMoving blocks while the lane of Pick is silent and a dial for the subpool is in flight: a busy server may
// still accept new conns. It ends with ctx. Its waits count like those for a conn. If MaxWaiters already wait, it
// returns ErrExhausted at once.
func (g *Subpool) AwaitMoving(ctx context.Context, w Weight) error {
	var waits *waiter
	for l := g.Pick(w); l != nil && l.Silent() && ctx.Err() == nil; l = g.Pick(w) {
		changed, err := g.nextConn(&waits, isCaller(ctx))
		if err != nil {
			return err
		}
		if changed == nil {
			break
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
	if waits == nil {
		return nil
	}
	p := g.pool
	p.mu.Lock()
	defer p.unlock()
	p.awaiting--
	if waits.counted {
		p.awaitingCallers--
	}
	var err error
	if ctx.Err() != nil {
		err = p.ctxError(ctx)
	}
	p.waitEndedLocked(waits, err)
	return err
}

// nextConn returns a channel that closes when the next dial ends; nil if the subpool has no dial in flight. The first
// channel begins the caller's wait in the statistics, if counted is set.
func (g *Subpool) nextConn(waits **waiter, counted bool) (<-chan struct{}, error) {
	if heir := g.successor.Load(); heir != nil {
		return heir.nextConn(waits, counted)
	}
	p := g.pool
	p.mu.Lock()
	defer p.unlock()
	if g.dialing == 0 {
		return nil, nil
	}
	if *waits == nil {
		if err := p.tooManyLocked(); err != nil {
			return nil, err
		}
		*waits = &waiter{want: shared, counted: counted}
		p.awaiting++
		if counted {
			p.awaitingCallers++
		}
		p.waitBeganLocked(*waits)
	}
	changed := make(chan struct{})
	p.watchers = append(p.watchers, changed)
	return changed, nil
}

// grow requests another lane, unless there are most lanes already.
func (g *Subpool) grow(most int) {
	p := g.pool
	p.mu.Lock()
	if g.mayGrow.Load() && !p.closed && g.count[shared]+g.laneWanted < most {
		g.laneWanted++
		p.serveLocked()
	}
	p.unlock()
}
