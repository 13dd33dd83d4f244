package engine

import (
	"context"
	"sync/atomic"

	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/pool"
	"github.com/seed-2b0d76a6/respool/internal/pubsub"
)

// Lease is a dedicated connection that is leased to one caller. Release and Destroy end the lease; the first
// call counts. Its other methods are not safe for concurrent use.
type Lease struct {
	e    *Engine
	node *node
	conn *pool.Conn
	over atomic.Bool

	spoilt string // why the connection is closed at the end of an attempt
	unsure string // why it is restored then: nobody knows its state
}

// Lane is the connection's.
func (l *Lease) Lane() *lane.Lane { return l.conn.Lane() }

// Release returns the connection as it was.
func (l *Lease) Release() {
	if !l.over.Swap(true) {
		l.conn.Release()
	}
}

// ReleaseDirty returns a connection in a state that nobody knows: it is restored before anybody uses it.
func (l *Lease) ReleaseDirty(reason string) {
	if !l.over.Swap(true) {
		l.conn.ReleaseDirty(reason)
	}
}

// Destroy closes the connection.
func (l *Lease) Destroy(reason string) {
	if !l.over.Swap(true) {
		l.conn.Destroy(reason)
	}
}

// Notice takes replies as evidence of the server's role and state, for commands that are not sent again.
func (l *Lease) Notice(frames ...[]byte) {
	for _, f := range frames {
		if kind, ok := l.e.refusalIn(f); ok {
			l.e.router.refused(l.node, kind)
			return
		}
	}
}

// Lease leases a connection of an identity. It waits in line behind those who came first, bounded by ctx and the
// wait timeout.
func (e *Engine) Lease(ctx context.Context, id Identity) (*Lease, error) {
	l, err := e.lease(ctx, false, e.leaseAs(id))
	return l, WrapError(err)
}

// obtain has a pool lease a connection.
type obtain = func(context.Context, *pool.Pool) (*pool.Conn, error)

// leaseAs leases connections of an identity.
func (e *Engine) leaseAs(id Identity) obtain {
	id = e.own(id)
	return func(ctx context.Context, p *pool.Pool) (*pool.Conn, error) { return p.Subpool(id).Acquire(ctx) }
}

// lease leases a connection of the right node. reads says that nothing will be written on it.
func (e *Engine) lease(ctx context.Context, reads bool, from obtain) (*Lease, error) {
	var l *Lease
	req, so := request{reads: reads}, attempts{}
	got := e.run(ctx, &req, &so, func(n *node) (got attempt) {
		l, got.err = e.leaseAt(ctx, n, from)
		return attempt{waited: true, err: got.err}
	})
	return l, got.err
}

// leaseAt leases a connection of a node.
func (e *Engine) leaseAt(ctx context.Context, n *node, from obtain) (*Lease, error) {
	conn, err := from(ctx, n.pool)
	if err != nil {
		return nil, err
	}
	e.renewer.catchUp(ctx, conn.Lane())
	return &Lease{e: e, node: n, conn: conn}, nil
}

// runLeased is run with a connection of an identity that is leased for each attempt.
func (e *Engine) runLeased(ctx context.Context, id Identity, req *request, try func(*Lease) attempt) attempt {
	from, so := e.leaseAs(id), attempts{}
	return e.run(ctx, req, &so, func(n *node) attempt {
		l, err := e.leaseAt(ctx, n, from)
		if err != nil {
			return attempt{waited: true, err: err}
		}
		got := try(l)
		got.lane = l.Lane()
		e.judge(ctx, n, req.raw, &got) // the question about a script's error goes out on this connection
		l.end()
		return got
	})
}

// end ends the lease as the attempt left the connection.
func (l *Lease) end() {
	switch {
	case l.spoilt != "":
		l.Destroy(l.spoilt)
	case l.unsure != "":
		l.ReleaseDirty(l.unsure)
	default:
		l.Release()
	}
}

// Subscribe subscribes to names of a kind, as the engine's own user.
func (e *Engine) Subscribe(ctx context.Context, kind pubsub.Kind, names []string) (*pubsub.Subscription, error) {
	return e.hub.Subscribe(ctx, kind, names)
}

// subscriberSource leases connections of the right node to a hub.
type subscriberSource struct {
	e  *Engine
	id Identity
}

// AcquireSubscriber waits for one, bounded by ctx and the wait timeout.
func (s subscriberSource) AcquireSubscriber(ctx context.Context) (*pool.Conn, error) {
	l, err := s.e.lease(ctx, true, func(ctx context.Context, p *pool.Pool) (*pool.Conn, error) {
		return p.Subpool(s.id).AcquireSubscriber(ctx)
	})
	if err != nil {
		return nil, err
	}
	return l.conn, nil
}
