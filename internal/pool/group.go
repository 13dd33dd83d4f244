package pool

import (
	"context"
	"slices"
	"sync/atomic"

	"github.com/seed-2b0d76a6/respool/internal/lane"
)

// Key says as whom, and with which database and protocol, a conn works. The
// zero Key is what the client was configured with.
type Key struct {
	User      string
	DB, Proto int
}

// Group is the conns of one key, and those who wait for one. All groups of a pool
// share its bound. All methods are safe for concurrent use, for ever: a group that nobody
// used is forgotten, and comes back with its next use.
type Group struct {
	p   *Pool
	key Key

	view    atomic.Pointer[[]*lane.Lane] // open lanes, for callers without the lock
	mayGrow atomic.Bool                  // another lane could be opened

	// Guarded by Pool.mu.
	listed     bool    // it is among the pool's
	lanes      []*Conn // class shared, those that drain included
	stack      []*Conn // class idle, the last one used on top
	laneWanted int     // lanes to open beyond those that are
	dialing    int     // dials under way for it
	turning    int     // conns that are being recast for it
	waitLane   waitQueue
	waitConn   waitQueue
}

func newGroup(p *Pool, k Key) *Group {
	g := &Group{p: p, key: k}
	g.view.Store(new([]*lane.Lane))
	return g
}

// Base is the group of the zero key.
func (p *Pool) Base() *Group { return p.base }

// Group gives the conns of a key.
func (p *Pool) Group(k Key) *Group {
	if k == (Key{}) {
		return p.base
	}
	if g, ok := p.byKey.Load(k); ok {
		return g.(*Group)
	}
	return newGroup(p, k)
}

// Shared waits for a lane where none is open. The lane carries a reservation
// for one request.
func (g *Group) Shared(ctx context.Context) (*lane.Lane, error) {
	c, err := g.obtain(ctx, shared)
	if err != nil {
		return nil, err
	}
	return c.lane, nil
}

// Acquire lends a conn. It waits in line, bounded by ctx and the wait timeout.
func (g *Group) Acquire(ctx context.Context) (*Conn, error) { return g.obtain(ctx, dedicated) }

// AcquireSubscriber lends a conn that the ledger counts as subscribed.
func (g *Group) AcquireSubscriber(ctx context.Context) (*Conn, error) {
	return g.obtain(ctx, subscribed)
}

// listedLocked gives the group of g's key that is among the pool's: g itself,
// unless another one has taken its place.
func (g *Group) listedLocked() *Group {
	p := g.p
	if g.listed {
		return g
	}
	if other, ok := p.byKey.Load(g.key); ok {
		return other.(*Group)
	}
	g.listed = true
	p.groups = append(p.groups, g)
	p.byKey.Store(g.key, g)
	return g
}

// tidyLocked forgets groups that have nothing and want nothing.
func (p *Pool) tidyLocked() {
	p.groups = slices.DeleteFunc(p.groups, func(g *Group) bool {
		if g == p.base || len(g.lanes)+len(g.stack)+g.dialing+g.turning+g.waiting() > 0 {
			return false
		}
		g.listed, g.laneWanted = false, 0
		g.mayGrow.Store(false)
		p.byKey.Delete(g.key)
		return true
	})
}

// waiting is how many callers wait.
func (g *Group) waiting() int { return g.waitLane.n + g.waitConn.n }

// waitingLocked is how many wait in all groups.
func (p *Pool) waitingLocked() int {
	n := 0
	for _, g := range p.groups {
		n += g.waiting()
	}
	return n
}

func (g *Group) queues() [2]*waitQueue { return [2]*waitQueue{&g.waitLane, &g.waitConn} }

func (g *Group) queueFor(want class) *waitQueue {
	if want == shared {
		return &g.waitLane
	}
	return &g.waitConn
}

// oldest is the number of the caller that waits longest, or the largest there is.
func (g *Group) oldest() uint64 {
	seq := ^uint64(0)
	for _, q := range g.queues() {
		if q.first != nil {
			seq = min(seq, q.first.seq)
		}
	}
	return seq
}

// byAgeLocked gives the groups in the order of those who wait longest.
func (p *Pool) byAgeLocked() []*Group {
	if len(p.groups) == 1 {
		return p.groups
	}
	list := slices.Clone(p.groups)
	slices.SortStableFunc(list, func(a, b *Group) int {
		if x, y := a.oldest(), b.oldest(); x < y {
			return -1
		} else if x > y {
			return 1
		}
		return 0
	})
	return list
}

// popLocked takes the idle conn that was used last. Dead ones stay for died.
func (g *Group) popLocked() *Conn {
	for i := len(g.stack) - 1; i >= 0; i-- {
		if c := g.stack[i]; c.lane.Depth() >= 0 {
			g.stack = slices.Delete(g.stack, i, i+1)
			return c
		}
	}
	return nil
}

// openLaneLocked is the open lane with the fewest replies due.
func (g *Group) openLaneLocked() *Conn {
	var best *Conn
	for _, c := range g.lanes {
		if d := c.lane.Depth(); !c.draining && d >= 0 && (best == nil || d < best.lane.Depth()) {
			best = c
		}
	}
	return best
}

// openLanesLocked is how many lanes take newcomers.
func (g *Group) openLanesLocked() int {
	n := 0
	for _, c := range g.lanes {
		if !c.draining {
			n++
		}
	}
	return n
}

func (g *Group) shareLocked(c *Conn) {
	c.lane.Undrain(g)
	g.p.moveLocked(c, shared)
	g.lanes = append(g.lanes, c)
	g.publishLocked()
}

// publishLocked shows the open lanes to the callers that take no lock.
func (g *Group) publishLocked() {
	open := make([]*lane.Lane, 0, len(g.lanes))
	for _, c := range g.lanes {
		if !c.draining {
			open = append(open, c.lane)
		}
	}
	g.view.Store(&open)
}
