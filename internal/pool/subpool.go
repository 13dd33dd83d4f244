package pool

import (
	"context"
	"sync/atomic"

	"github.com/seed-2b0d76a6/respool/internal/lane"
)

// Identity is the user, the database and the protocol of a conn, and whether it reads from a replica. The zero Identity
// is the client's own.
type Identity struct {
	User      string
	DB, Proto int

	// Replica: the conn is in the READONLY mode of a cluster's nodes. A replica executes reads on it. No command that
	// needs the primary may use it, because a primary that loses its role goes on to execute reads on it.
	Replica bool
}

// strict returns the identity without Replica.
func (k Identity) strict() Identity {
	k.Replica = false
	return k
}

// own reports whether the identity is the client's own, of either mode.
func (k Identity) own() bool { return k.strict() == Identity{} }

// proof returns the proof of order for lanes of the identity. Users other than the client's own may lack permission
// for ECHO, and their refusals would fill the server's ACL LOG.
func (k Identity) proof() lane.Proof {
	if k.User != "" {
		return lane.HelloProof
	}
	return lane.EchoProof
}

// Subpool is the part of a pool for one identity: its lanes and its waiters. The pool decides about the bound, dials
// and turns. A Subpool stays usable: the pool removes one without conns and waiters, and adds it again at its next
// use.
type Subpool struct {
	view      atomic.Pointer[[]*lane.Lane] // open lanes, for callers without the lock
	mayGrow   atomic.Bool                  // another lane may be opened
	growing   atomic.Bool                  // a requested lane is not open yet
	successor atomic.Pointer[Subpool]      // the listed subpool of the identity, if it is not this one

	pool     *Pool
	identity Identity

	// Guarded by Pool.mu.
	listed     bool         // the pool lists it
	count      [classes]int // members of the identity by class
	open       int          // lanes that accept new requests
	dialing    int          // dials in flight for it
	arriving   int          // members that switch to its user now
	laneWanted int          // further lanes to open
	waitLane   waitQueue
	waiting    int // for lanes and conns
	pass       uint64
	covered    int // in that pass: waiters for which a conn is in preparation
}

func (g *Subpool) init(p *Pool, k Identity) {
	g.pool, g.identity = p, k
	g.view.Store(new([]*lane.Lane))
}

// Subpool returns the subpool of an identity. It is the same one as long as it has conns or waiters.
func (p *Pool) Subpool(k Identity) *Subpool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.subpoolLocked(k)
}

func (p *Pool) subpoolLocked(k Identity) *Subpool {
	g := p.subpools[k]
	if g == nil {
		g = &Subpool{}
		g.init(p, k)
	}
	return g
}

// usedLocked reports whether the subpool has conns, dials or waiters.
func (g *Subpool) usedLocked() bool { return g.waiting+g.dialing > 0 || g.connsLocked() > 0 }

// connsLocked returns the number of usable conns.
func (g *Subpool) connsLocked() int {
	n := -g.count[closing]
	for _, members := range g.count {
		n += members
	}
	return n
}

// comingLocked returns the number of conns in preparation for the subpool.
func (g *Subpool) comingLocked() int { return g.dialing + g.count[preparing] }

// Owner returns the owner of the subpool's lanes, for lane.Options.
func (g *Subpool) Owner() any {
	if heir := g.successor.Load(); heir != nil {
		return heir.Owner()
	}
	return g
}

// Zero returns the subpool of the zero identity.
func (p *Pool) Zero() *Subpool { return &p.zero }

// Readers returns the subpool of the zero identity with Replica.
func (p *Pool) Readers() *Subpool { return &p.readers }

// Shared blocks until a lane is open, ctx ends, or WaitTimeout is over. The returned lane has a reservation for one
// request.
func (g *Subpool) Shared(ctx context.Context) (*lane.Lane, error) {
	c, err := g.pool.obtain(ctx, g, shared)
	if err != nil {
		return nil, err
	}
	return c.lane, nil
}

// Acquire leases a conn. Callers wait in order. ctx and WaitTimeout limit the wait.
func (g *Subpool) Acquire(ctx context.Context) (*Conn, error) { return g.lease(ctx, dedicated) }

// AcquireSubscriber is Acquire for a conn that the ledger counts as subscribed.
func (g *Subpool) AcquireSubscriber(ctx context.Context) (*Conn, error) {
	return g.lease(ctx, subscribed)
}

func (g *Subpool) lease(ctx context.Context, as class) (*Conn, error) {
	c, err := g.pool.obtain(ctx, g, as)
	if err != nil {
		return nil, err
	}
	return &Conn{member: c, subpool: g}, nil
}
