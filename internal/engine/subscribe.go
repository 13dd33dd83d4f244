package engine

import (
	"context"
	"errors"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/pool"
	"github.com/seed-2b0d76a6/respool/internal/pubsub"
	"github.com/seed-2b0d76a6/respool/internal/topology"
	"github.com/seed-2b0d76a6/respool/internal/topology/cluster"
	"github.com/seed-2b0d76a6/respool/internal/wire"
	"github.com/seed-2b0d76a6/respool/resp"
)

// Subscribe subscribes to names of a kind as the engine's own user. See pubsub.Hub.Subscribe.
func (e *Engine) Subscribe(ctx context.Context, kind pubsub.Kind, names []string) (*pubsub.Subscription, error) {
	return e.hub.Subscribe(ctx, kind, names)
}

// Hub returns the hub of the engine's own user, or of another user.
func (e *Engine) Hub(user string) *pubsub.Hub {
	if user == "" {
		return e.hub
	}
	return e.users.Hub(user, func() *pubsub.Hub { return e.newHub(Identity{User: user, Proto: 3}) })
}

// newHub returns a hub for the subscriptions of an identity.
func (e *Engine) newHub(id Identity) *pubsub.Hub {
	cfg := e.cfg.Subscriptions
	cfg.Addr, cfg.Ping = e.place(), id.Ping()
	if e.cluster != nil {
		cfg.Cluster, cfg.RefusalLimit = shardChannels{e, id}, e.cfg.Pool.WaitTimeout
	}
	return pubsub.New(subscriberSource{e, id}, cfg)
}

// subscriberSource leases connections of the routed node to a hub. In a cluster that is any primary.
type subscriberSource struct {
	e  *Engine
	id Identity
}

// AcquireSubscriber blocks until a connection is free. ctx and the wait timeout limit the wait.
func (s subscriberSource) AcquireSubscriber(ctx context.Context) (*pool.Conn, error) {
	var l Lease
	err := s.e.lease(ctx, &l, &request{reads: true}, func(ctx context.Context, p *pool.Pool) (*pool.Conn, error) {
		return p.Subpool(s.id).AcquireSubscriber(ctx)
	})
	if err == nil {
		s.e.router.subscribed()
	}
	return l.conn, err
}

// shardChannels distributes the shard channels of an identity over the nodes of a cluster.
type shardChannels struct {
	e  *Engine
	id Identity
}

// Primaries implements pubsub.Cluster.
func (s shardChannels) Primaries() []pubsub.Source {
	nodes := s.e.nodes.now.Load().nodes()
	if len(nodes) == 0 {
		return []pubsub.Source{shardSource{e: s.e, id: s.id}}
	}
	sources := make([]pubsub.Source, len(nodes))
	for i, n := range nodes {
		sources[i] = shardSource{e: s.e, id: s.id, addr: n.addr}
	}
	return sources
}

// Source implements pubsub.Cluster.
func (s shardChannels) Source(of int) pubsub.Source {
	source := shardSource{e: s.e, id: s.id}
	if m := s.e.nodes.now.Load().slots; m != nil {
		if n := m.owner(slot(of + 1)); n != nil {
			source.addr = n.addr
		}
	}
	return source
}

// Refused implements pubsub.Cluster.
func (s shardChannels) Refused(by pubsub.Source, of int, err error) {
	addr := by.(shardSource).addr
	r := s.e.nodes.now.Load()
	from := target{node: s.e.nodes.byAddr(addr)}
	if from.node == nil || from.addr != addr || r.slots == nil {
		return // it has left
	}
	from.version = r.slots.version
	se, _ := errors.AsType[*resp.ServerError](err)
	if se == nil {
		s.e.router.refused(from.node, topology.Changed)
		return
	}
	frame := resp.AppendError(nil, "-"+se.Error())
	if kind, ok := s.e.refusals.One(frame); ok {
		if to := s.e.redirected(from, kind, [][]byte{frame}); to != nil {
			s.e.router.redirected(from, to)
		}
	}
}

// shardSource leases connections of one node to a hub. Its address is empty for slots without a node.
type shardSource struct {
	e    *Engine
	id   Identity
	addr string
}

// AcquireSubscriber blocks until a connection is free. ctx and the wait timeout limit the wait. It returns
// pubsub.ErrRouteChanged if the node is not in the cluster's map, or if the map has changed and there was no node.
func (s shardSource) AcquireSubscriber(ctx context.Context) (*pool.Conn, error) {
	e, so := s.e, attempts{}
	for {
		r := e.nodes.now.Load()
		switch n := r.at(s.addr); {
		case r.closed:
			return nil, pool.ErrClosed
		case s.addr == "":
			return nil, e.awaitChange(ctx, r)
		case n == nil:
			return nil, pubsub.ErrRouteChanged
		default:
			conn, err := n.pool.Subpool(s.id).AcquireSubscriber(ctx)
			if err == nil {
				e.renewer.CatchUp(ctx, conn.Lane())
				e.router.subscribed()
				return conn, nil
			}
			f := failure{err: err, waited: true, reads: true, finds: true, closed: e.closed.Load()}
			if f.decide() == giveUp {
				return nil, err
			}
			e.router.seek(n, anySlot, nil, nil)
			if !e.pauseFor(ctx, &so) {
				return nil, err
			}
		}
	}
}

// awaitChange waits until another route replaces r, and returns pubsub.ErrRouteChanged then. ctx and the wait timeout
// limit the wait.
func (e *Engine) awaitChange(ctx context.Context, r *route) error {
	e.router.start()
	timer := time.NewTimer(e.cfg.Pool.WaitTimeout)
	defer timer.Stop()
	select {
	case <-r.changed:
		return pubsub.ErrRouteChanged
	case <-timer.C:
		return e.router.explain(&wire.TimeoutError{Text: "none was found within the wait timeout of " + e.cfg.Pool.WaitTimeout.String()})
	case <-ctx.Done():
		return e.router.explain(ctx.Err())
	}
}

// at returns the node at an address, if the route names it; else nil.
func (r *route) at(addr string) *node {
	for _, n := range r.nodes() {
		if n.addr == addr {
			return n
		}
	}
	return nil
}

// reroute moves the shard channels of all users to the nodes that serve them now.
func (e *Engine) reroute() {
	e.hub.Reroute()
	for _, h := range e.users.Hubs() {
		h.Reroute()
	}
}

// lookEvery is how often a node is asked whether the cluster has changed, while there are subscriptions or watched keys.
const lookEvery = 750 * time.Millisecond

// subscribed starts to watch the cluster, until there are no connections for subscriptions any more.
//
// A subscription sends no commands, so no MOVED reports that its node has lost its slots. A node that was removed from
// the cluster still accepts subscriptions, but receives no messages.
func (c *clusterRouter) subscribed() {
	if !c.watching.CompareAndSwap(false, true) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.stopped {
		c.running.Go(c.watch)
	}
}

// watch asks a node after the other for its CLUSTER INFO. A difference is evidence that the map has changed.
func (c *clusterRouter) watch() {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for c.watches() {
		select {
		case <-ticker.C:
		case <-c.ctx.Done():
			return
		}
		n := c.e.nodes.now.Load().node()
		if n == nil {
			continue
		}
		if state := c.stateAt(n); state != "" && state != c.seen {
			c.seen = state
			c.refused(n, topology.Changed)
		}
	}
}

// watches reports whether there are connections for subscriptions or for watched keys. Otherwise the watch ends.
func (c *clusterRouter) watches() bool {
	c.watching.Store(false) // before the check: a connection that opens now starts another watch
	for _, n := range c.e.nodes.list() {
		if n.pool.Subscribed() {
			return c.watching.CompareAndSwap(false, true)
		}
	}
	return false
}

// stateAt returns the state of the cluster at a node; empty if it does not answer.
func (c *clusterRouter) stateAt(n *node) string {
	ctx, cancel := context.WithTimeout(c.ctx, c.e.cluster.QueryTimeout)
	defer cancel()
	l, opt, err := laneOf(ctx, n.pool.Zero(), pool.Any, nil)
	if err != nil {
		return ""
	}
	frame, err := l.Do(ctx, []any{"CLUSTER", "INFO"}, opt)
	if err != nil {
		return ""
	}
	info, err := decoded(frame)
	if err != nil {
		return ""
	}
	return cluster.StateOf(info)
}
