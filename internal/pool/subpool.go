package pool

import (
	"context"
	"sync/atomic"

	"github.com/seed-2b0d76a6/respool/internal/lane"
)

// Identity says as whom, and with which database and protocol, a conn works. The
// zero Identity is what the client was configured with.
type Identity struct {
	User      string
	DB, Proto int
}

// proof is how lanes of the key prove that they are in step. Users other than the client's own may
// not be allowed ECHO, and refusals would fill their server's ACL LOG.
func (k Identity) proof() lane.Proof {
	if k.User != "" {
		return lane.HelloProof
	}
	return lane.EchoProof
}

// Subpool is what a pool has for one key: its lanes, and those who wait for a
// conn of it. The bound, the dials and the turns are the pool's. A Subpool may be
// used for ever: the pool forgets those that have neither conns nor waiters and
// takes them in again with their next use.
type Subpool struct {
	view    atomic.Pointer[[]*lane.Lane] // open lanes, for callers without the lock
	mayGrow atomic.Bool                  // another lane could be opened
	heir    atomic.Pointer[Subpool]      // the one that the pool knows under the key, where that is not this one

	pool *Pool
	key  Identity

	// Guarded by Pool.mu.
	listed     bool         // the pool knows it
	count      [classes]int // members of the key by class
	open       int          // lanes that take newcomers
	dialing    int          // dials for it
	arriving   int          // members that are about to become the user's
	laneWanted int          // lanes to open beyond those that are
	waitLane   waitQueue
	waiting    int // for lanes and conns
	pass       uint64
	covered    int // in that pass: of its waiters, those for whom a conn is on its way
}

func (g *Subpool) init(p *Pool, k Identity) {
	g.pool, g.key = p, k
	g.view.Store(new([]*lane.Lane))
}

// Subpool gives the group of a key, the same one as long as it has conns or
// waiters.
func (p *Pool) Subpool(k Identity) *Subpool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.groupLocked(k)
}

func (p *Pool) groupLocked(k Identity) *Subpool {
	g := p.groups[k]
	if g == nil {
		g = &Subpool{}
		g.init(p, k)
	}
	return g
}

// enlistLocked gives the group that stands for g's key, which is g itself if
// the pool knows none.
func (p *Pool) enlistLocked(g *Subpool) *Subpool {
	if g.listed {
		return g
	}
	known := p.groups[g.key]
	g.heir.Store(known)
	if known != nil {
		return known
	}
	p.groups[g.key], g.listed = g, true
	return g
}

// forgetLocked drops a group that is not in use. The zero key's stays.
func (p *Pool) forgetLocked(g *Subpool) {
	if g != &p.zero && g.listed && !g.usedLocked() {
		g.listed, g.laneWanted = false, 0
		g.mayGrow.Store(false)
		delete(p.groups, g.key)
	}
}

// usedLocked reports whether there are conns, dials or waiters.
func (g *Subpool) usedLocked() bool { return g.waiting+g.dialing > 0 || g.connsLocked() > 0 }

// connsLocked is how many of the key's conns work.
func (g *Subpool) connsLocked() int {
	n := -g.count[closing]
	for _, members := range g.count {
		n += members
	}
	return n
}

// comingLocked is how many conns are on their way to the group.
func (g *Subpool) comingLocked() int { return g.dialing + g.count[preparing] }

// Owner is what lanes of the group serve, for lane.Options.
func (g *Subpool) Owner() any {
	if heir := g.heir.Load(); heir != nil {
		return heir.Owner()
	}
	return g
}

// Zero is the group of the zero key.
func (p *Pool) Zero() *Subpool { return &p.zero }

// Shared waits for a lane where none is open. The lane carries a reservation
// for one request.
func (g *Subpool) Shared(ctx context.Context) (*lane.Lane, error) {
	c, err := g.pool.obtain(ctx, g, shared)
	if err != nil {
		return nil, err
	}
	return c.lane, nil
}

// Acquire lends a conn. It waits in line, bounded by ctx and the wait timeout.
func (g *Subpool) Acquire(ctx context.Context) (*Conn, error) { return g.borrow(ctx, dedicated) }

// AcquireSubscriber lends a conn that the ledger counts as subscribed.
func (g *Subpool) AcquireSubscriber(ctx context.Context) (*Conn, error) {
	return g.borrow(ctx, subscribed)
}

func (g *Subpool) borrow(ctx context.Context, as class) (*Conn, error) {
	c, err := g.pool.obtain(ctx, g, as)
	if err != nil {
		return nil, err
	}
	return &Conn{member: c, group: g}, nil
}

// regroupLocked moves a member to another group, which is enlisted.
func (p *Pool) regroupLocked(c *member, to *Subpool) {
	from := c.group
	from.count[c.class]--
	to.count[c.class]++
	c.group = to
	p.forgetLocked(from)
	p.forgetLocked(to) // a conn that is closing is no use of it
}
