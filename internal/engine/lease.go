package engine

import (
	"context"
	"sync/atomic"

	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/pool"
	"github.com/seed-2b0d76a6/respool/internal/pubsub"
)

// Lease is a dedicated connection that is leased to one caller. Release, ReleaseDirty and Destroy end the lease; only
// the first call has an effect. The other methods are not safe for concurrent use.
type Lease struct {
	e    *Engine
	node *node
	conn *pool.Conn
	over atomic.Bool

	spoilt string // the reason for closing the connection after an attempt
	unsure string // the reason for restoring it: its state is unknown
}

// Lane returns the connection's lane.
func (l *Lease) Lane() *lane.Lane { return l.conn.Lane() }

// Release returns the connection unchanged.
func (l *Lease) Release() {
	if !l.over.Swap(true) {
		l.conn.Release()
	}
}

// ReleaseDirty returns a connection whose state is unknown. The pool restores it before another caller uses it.
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

// Notice reports refusals in replies to the router, for commands that are not retried.
func (l *Lease) Notice(frames ...[]byte) {
	for _, f := range frames {
		if kind, ok := l.e.refusals.one(f); ok {
			l.e.router.refused(l.node, kind)
			return
		}
	}
}

// Lease leases a connection of an identity. Callers wait in order of arrival. ctx and the wait timeout limit the
// wait.
func (e *Engine) Lease(ctx context.Context, id Identity) (*Lease, error) {
	l := &Lease{}
	if err := e.lease(ctx, l, false, e.leaseAs(id)); err != nil {
		return nil, WrapError(err)
	}
	return l, nil
}

// obtain leases a connection from a pool.
type obtain = func(context.Context, *pool.Pool) (*pool.Conn, error)

// leaseAs returns an obtain for connections of an identity.
func (e *Engine) leaseAs(id Identity) obtain {
	id = e.own(id)
	return func(ctx context.Context, p *pool.Pool) (*pool.Conn, error) { return p.Subpool(id).Acquire(ctx) }
}

// lease leases a connection of the node that the route names, and begins l with it. reads: the caller writes no data
// on it.
func (e *Engine) lease(ctx context.Context, l *Lease, reads bool, from obtain) error {
	req, so := request{reads: reads}, attempts{}
	got := e.run(ctx, &req, &so, func(n *node) attempt {
		return attempt{waited: true, err: e.leaseAt(ctx, l, n, from)}
	})
	return got.err
}

// leaseAt leases a connection of a node, and begins l with it.
func (e *Engine) leaseAt(ctx context.Context, l *Lease, n *node, from obtain) error {
	conn, err := from(ctx, n.pool)
	if err != nil {
		return err
	}
	e.renewer.catchUp(ctx, conn.Lane())
	l.e, l.node, l.conn = e, n, conn
	return nil
}

// runLeased is run with a leased connection of an identity for each attempt.
func (e *Engine) runLeased(ctx context.Context, id Identity, req *request, try func(*Lease) attempt) attempt {
	from, so := e.leaseAs(id), attempts{}
	return e.run(ctx, req, &so, func(n *node) attempt {
		l := &Lease{}
		if err := e.leaseAt(ctx, l, n, from); err != nil {
			return attempt{waited: true, err: err}
		}
		got := try(l)
		got.lane = l.Lane()
		e.judge(ctx, n, req.raw, &got) // a query about a script's error uses this connection
		l.end()
		return got
	})
}

// end ends the lease according to the state that the attempt left.
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

// Subscribe subscribes to names of a kind as the engine's own user. See pubsub.Hub.Subscribe.
func (e *Engine) Subscribe(ctx context.Context, kind pubsub.Kind, names []string) (*pubsub.Subscription, error) {
	return e.hub.Subscribe(ctx, kind, names)
}

// subscriberSource leases connections of the routed node to a hub.
type subscriberSource struct {
	e  *Engine
	id Identity
}

// AcquireSubscriber blocks until a connection is free. ctx and the wait timeout limit the wait.
func (s subscriberSource) AcquireSubscriber(ctx context.Context) (*pool.Conn, error) {
	var l Lease
	err := s.e.lease(ctx, &l, true, func(ctx context.Context, p *pool.Pool) (*pool.Conn, error) {
		return p.Subpool(s.id).AcquireSubscriber(ctx)
	})
	return l.conn, err
}
