package pool

import (
	"context"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/lane"
)

// Weight is what a command puts on a lane.
type Weight uint8

// The weights. Small and Large keep out of each other's way, on one half of
// the lanes each; Any is for times without large ones.
const (
	Any Weight = iota
	Small
	Large
)

// packed is how many replies may be due on a lane before callers go to the
// next one: writes and reads that carry many commands cost least.
const packed = 1024

// Pick is Group.Pick for the zero key.
func (p *Pool) Pick(w Weight) *lane.Lane { return p.zero.Pick(w) }

// Pick chooses a lane for one command: the first on which less than packed is
// due, else the one with the fewest replies due, and of lanes for large ones
// always that. It takes no lock; nil means that there is no open lane and that
// Shared has to be asked. Requests on the lane have to name Owner in their options: it may be
// another group's by then.
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
		if heir := g.heir.Load(); heir != nil {
			return heir.Pick(w)
		}
		return nil
	}
	if (apart || least >= most) && g.mayGrow.Load() {
		g.grow(least >= most)
	}
	return best
}

// Growing reports whether another conn is dialed for the group.
func (g *Subpool) Growing() bool {
	if heir := g.heir.Load(); heir != nil {
		return heir.Growing()
	}
	g.pool.mu.Lock()
	defer g.pool.mu.Unlock()
	return g.dialing > 0
}

// AwaitMoving waits while nothing moves on the lane that Pick gives, and another conn is dialed: a server may
// do nothing else for long, and answer newcomers all the same. It ends with ctx. Its waits count as those for a conn do, and
// where MaxWaiters wait already it returns ErrExhausted at once.
func (g *Subpool) AwaitMoving(ctx context.Context, w Weight) error {
	var waits *waiter
	for l := g.Pick(w); l != nil && l.Silent() && ctx.Err() == nil; l = g.Pick(w) {
		changed, err := g.nextConn(&waits)
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
	var err error
	if ctx.Err() != nil {
		err = p.ctxError(ctx)
	}
	p.waitEndedLocked(waits, err)
	return err
}

// nextConn returns a channel that closes when the next dial ends, or nil if the group has no dial in progress. The first one
// that a caller gets begins its wait.
func (g *Subpool) nextConn(waits **waiter) (<-chan struct{}, error) {
	if heir := g.heir.Load(); heir != nil {
		return heir.nextConn(waits)
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
		*waits = &waiter{want: shared, began: time.Now()}
		p.awaiting++
		p.statistic.waits++
		p.emitLocked(Event{Kind: WaitBegan, Class: shared.String()})
	}
	changed := make(chan struct{})
	p.watchers = append(p.watchers, changed)
	return changed, nil
}

// grow asks for another lane: because those that there are have enough to do,
// or because there is but one, and large replies want one apart. That lane may
// be on its way.
func (g *Subpool) grow(busy bool) {
	p := g.pool
	p.mu.Lock()
	if g.mayGrow.Load() && !p.closed && (busy || g.count[shared]+g.laneWanted < 2) {
		g.laneWanted++
		p.serveLocked()
	}
	p.unlock()
}
