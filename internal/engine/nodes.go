package engine

import (
	"cmp"
	"context"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/certfile"
	"github.com/seed-2b0d76a6/respool/internal/identity"
	"github.com/seed-2b0d76a6/respool/internal/pool"
	"github.com/seed-2b0d76a6/respool/internal/refusal"
	"github.com/seed-2b0d76a6/respool/internal/wire"
)

// node is one server of an engine, with its own pool and bound.
type node struct {
	addr    string
	pool    *pool.Pool
	peer    *wire.Peer   // answers of the server in handshakes
	probes  int          // in flight; guarded by nodes.mu
	views   int          // engines of At that use it; guarded by nodes.mu
	resting bool         // only such engines use it; guarded by nodes.applying
	latency atomic.Int64 // of a PING in ns, smoothed; 0: not measured yet
	named   atomic.Int64 // time of the last redirect to it, in Unix ns
	wished  atomic.Int64 // time of the last wish, in Unix ns
	refused refusal.Record

	seeking atomic.Bool            // its successor is sought: see clusterRouter.seek
	sought  atomic.Pointer[sought] // by the last caller
}

// Reach is how an engine reaches its nodes. Reconfigure changes it.
type Reach struct {
	Network string         // tcp or unix
	Addr    string         // of the single server; empty for a service or a cluster, which report their nodes
	Login   identity.Login // of the engine's own user, if no provider returns it
	TLS     *certfile.ClientTLS
}

// dialConfig returns the configuration for dials of the node at addr. peer stores the answers of handshakes.
func (e *Engine) dialConfig(r *Reach, addr string, peer *wire.Peer) wire.Config {
	dial := e.cfg.Dial
	dial.Network, dial.Addr, dial.Peer, dial.Credentials = r.Network, addr, peer, e.renewer.Login()
	dial.Username, dial.Password = r.Login.Username, r.Login.Password
	return dial
}

// destination returns where the pool of the node at addr dials.
func (e *Engine) destination(r *Reach, addr string, peer *wire.Peer) pool.Destination {
	dial := e.dialConfig(r, addr, peer)
	return pool.Destination{Addr: addr, Dial: func(ctx, cut context.Context, id Identity) (*wire.Conn, error) {
		with := dial
		with.TLS = r.TLS.For(e.router.certificateName(addr))
		conn, err := e.identities.Dial(ctx, cut, with, id)
		if err == nil {
			e.vocabulary.Dialed(addr, conn.Server())
		}
		return conn, err
	}}
}

// try dials a node in use as r says, or the server that r names, and closes the connection. It returns nil if one answers, or if
// no node is known yet.
func (e *Engine) try(ctx context.Context, r *Reach) (first error) {
	for _, n := range e.nodes.now.Load().nodes() {
		addr := cmp.Or(r.Addr, n.addr)
		err := n.pool.Try(ctx, pool.Destination{Addr: addr, Dial: func(ctx, cut context.Context, _ Identity) (*wire.Conn, error) {
			dial := e.dialConfig(r, addr, &wire.Peer{})
			dial.TLS = r.TLS.For(e.router.certificateName(addr))
			return wire.Dial(ctx, cut, &dial)
		}})
		if err == nil {
			return nil
		}
		first = cmp.Or(first, err)
	}
	return first
}

// use makes the pools of all nodes use r. Connections to another server than r's close as at a failover.
func (e *Engine) use(r *Reach, drain time.Duration) {
	e.reach.Store(r)
	e.identities.SetLogin(r.Login)
	e.multi.Store(false)
	if n := e.nodes.now.Load().only; n != nil && r.Addr != "" && r.Addr != n.addr {
		moved := &node{addr: r.Addr, pool: n.pool, peer: &wire.Peer{}}
		e.nodes.move(moved)
		n.pool.Move(e.destination(r, moved.addr, moved.peer), drain)
		return
	}
	for _, n := range e.nodes.list() {
		n.pool.Renew(e.destination(r, n.addr, n.peer), "its login or its encryption has changed")
	}
}

// nodes holds the servers to which an engine has sockets. A pool stays as long as it has sockets, so that the bound
// also holds for a node that leaves and returns.
type nodes struct {
	open  func(addr string, peer *wire.Peer, suspended bool) *pool.Pool
	owner *nodes // of the pool of the only node; nil: these nodes
	now   atomic.Pointer[route]
	turn  atomic.Uint32

	applying sync.Mutex // held while the route is applied to the pools; locked before mu
	resizing sync.Mutex // held while a bound is applied to the pools; locked before mu

	mu     sync.Mutex
	all    map[string]*node
	max    int        // sockets to each node
	most   int        // set by Engine.Restrict: sockets to each node for now, if it is less than max
	lanes  int        // set by Reconfigure; 0: not set
	left   pool.Stats // counters of the nodes that are not in all any more
	closed bool
}

func newNodes(open func(addr string, peer *wire.Peer, suspended bool) *pool.Pool, most int) *nodes {
	s := &nodes{open: open, max: most, most: math.MaxInt, all: map[string]*node{}}
	s.now.Store(&route{changed: make(chan struct{})})
	return s
}

// use makes addr the only node. It is called once, without sentinels.
func (s *nodes) use(addr string) {
	n := s.lend(addr)
	s.mu.Lock()
	defer s.mu.Unlock()
	if n == nil {
		n = s.newNode(addr, false)
	}
	s.all[addr] = n
	s.publishLocked(&route{only: n})
}

// move makes to the only node, instead of the present one, whose pool it takes over. It is for an engine without sentinels and
// without a cluster.
func (s *nodes) move(to *node) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.all = map[string]*node{to.addr: to}
	s.publishLocked(&route{only: to})
}

// lend returns a node with the pool of the owner's node at addr; nil without an owner.
func (s *nodes) lend(addr string) *node {
	o := s.owner
	if o == nil {
		return nil
	}
	o.applying.Lock()
	defer o.applying.Unlock()
	o.mu.Lock()
	n := o.atLocked(addr)
	n.views++
	o.mu.Unlock()
	o.restApplying(n)
	return &node{addr: addr, pool: n.pool, peer: n.peer}
}

// giveBack ends lend.
func (s *nodes) giveBack(addr string) {
	s.applying.Lock()
	defer s.applying.Unlock()
	s.mu.Lock()
	n := s.all[addr]
	last := false
	if n != nil {
		n.views--
		last = n.views == 0 && !s.closed
	}
	s.mu.Unlock()
	if last && n.resting {
		n.resting = false
		n.pool.Suspend(0)
		s.forget(n)
	}
}

// restApplying makes the pool of a node that the route does not name serve engines of At. It has no guaranteed place.
func (s *nodes) restApplying(n *node) {
	if r := s.now.Load(); !n.resting && !slices.Contains(r.nodes(), n) && !slices.Contains(r.others, n) {
		n.resting = true
		n.pool.Guarantee(false)
		n.pool.Resume()
	}
}

// viewed reports whether an engine of At uses the node.
func (s *nodes) viewed(n *node) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return n.views > 0
}

func (s *nodes) newNode(addr string, suspended bool) *node {
	peer := &wire.Peer{}
	return &node{addr: addr, pool: s.open(addr, peer, suspended), peer: peer}
}

// atLocked returns the node at addr. A new node's pool is suspended.
func (s *nodes) atLocked(addr string) *node {
	n := s.all[addr]
	if n == nil {
		n = s.newNode(addr, true)
		n.pool.Resize(min(s.max, s.most))
		if s.lanes > 0 {
			n.pool.SetLanes(s.lanes)
		}
		s.all[addr] = n
	}
	return n
}

// applyRoute routes commands to the nodes of used and of next.others, and suspends all other nodes, except those to which redirects
// led a short time ago.
// Pending replies of suspended nodes may arrive for at most drain. It publishes the route before it suspends a node, so that a caller whose node is
// suspended finds the new route. One goroutine at a time calls it.
//
// It calls pools without holding mu, because their callbacks may call nodes.
func (s *nodes) applyRoute(next route, used []*node, drain time.Duration) {
	s.applying.Lock()
	defer s.applying.Unlock()
	for _, n := range used {
		n.resting = false
		n.pool.Guarantee(true)
		n.pool.Resume()
	}
	for _, n := range next.others {
		n.resting = false
		n.pool.Guarantee(false)
		n.pool.Resume()
	}
	if next.several = used; len(used) == 1 {
		next.only, next.several = used[0], nil
	}
	next.turn = &s.turn
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	s.publishLocked(&next)
	s.mu.Unlock()
	s.suspendApplying(drain)
}

// suspendUnused suspends the nodes that the route does not name, except those to which redirects led a short time ago. In a
// cluster it closes the connections of nodes that have taken another role.
func (s *nodes) suspendUnused(drain time.Duration) {
	s.applying.Lock()
	defer s.applying.Unlock()
	s.suspendApplying(drain)
}

func (s *nodes) suspendApplying(drain time.Duration) {
	r := s.now.Load()
	for _, n := range s.list() {
		switch {
		case slices.Contains(r.nodes(), n):
			if r.slots != nil {
				n.pool.Retire(true, drain)
			}
		case n.redirectedTo():
		case slices.Contains(r.others, n):
			n.pool.Retire(false, drain)
		case n.resting && s.viewed(n):
		case s.viewed(n):
			n.pool.Suspend(drain)
			s.restApplying(n)
		default:
			n.pool.Suspend(drain)
			s.forget(n)
		}
	}
}

// announce wakes the callers that wait for a route: why there is none has changed.
func (s *nodes) announce() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		same := *s.now.Load()
		s.publishLocked(&same)
	}
}

// at returns the nodes at addrs.
func (s *nodes) at(addrs []string) []*node {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	var list []*node
	for _, addr := range addrs {
		list = append(list, s.atLocked(addr))
	}
	return list
}

// forget drops a node without sockets and keeps its counters.
func (s *nodes) forget(n *node) {
	s.mu.Lock()
	if s.closed || n.probes > 0 || n.views > 0 || !n.pool.Empty() {
		s.mu.Unlock()
		return
	}
	delete(s.all, n.addr)
	last := n.pool.Stats()
	last.LastDialError, last.LastRefusal = nil, nil // the node's, which is gone
	s.left.Add(&last)
	s.mu.Unlock()
	_ = n.pool.Close(context.Background()) // it has no sockets, so this does not block
}

func (s *nodes) publishLocked(next *route) {
	next.changed = make(chan struct{})
	close(s.now.Swap(next).changed)
}

// probe sends one command to a node, whether it is in use or suspended.
func (s *nodes) probe(ctx context.Context, addr string, args ...any) ([]byte, error) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil, pool.ErrClosed
	}
	n := s.atLocked(addr)
	n.probes++
	s.mu.Unlock()
	frame, err := n.pool.Probe(ctx, args...)
	s.mu.Lock()
	n.probes--
	s.mu.Unlock()
	return frame, err
}

// measureEvery is the interval between measurements of latency.
const measureEvery = time.Second

// measure updates the smoothed latency of each node that reads may choose, until ctx ends.
func (s *nodes) measure(ctx context.Context) {
	tick := time.NewTicker(measureEvery)
	defer tick.Stop()
	for {
		r := s.now.Load()
		list := r.nodes()
		if r.slots != nil {
			list = r.others
		}
		for _, n := range list {
			s.measureOne(ctx, n)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (s *nodes) measureOne(ctx context.Context, n *node) {
	limited, cancel := context.WithTimeout(ctx, measureEvery)
	defer cancel()
	began := time.Now()
	_, err := s.probe(limited, n.addr, "PING")
	took := int64(time.Since(began))
	if before := n.latency.Load(); before > 0 {
		took = before + (took-before)/4
	}
	if err == nil {
		n.latency.Store(took)
	}
}

// byAddr returns the node at addr, else the node in use; nil if there is neither.
func (s *nodes) byAddr(addr string) *node {
	s.mu.Lock()
	n := s.all[addr]
	s.mu.Unlock()
	if n == nil {
		n = s.now.Load().node()
	}
	return n
}

// list returns the nodes that may have sockets.
func (s *nodes) list() []*node {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]*node, 0, len(s.all))
	for _, n := range s.all {
		list = append(list, n)
	}
	return list
}

// past returns the counters of departed nodes.
func (s *nodes) past() pool.Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.left
}

// bound returns the bound, and how many sockets each node may have now.
func (s *nodes) bound() (limit, now int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.max, min(s.max, s.most)
}

// resize sets max or most.
func (s *nodes) resize(of *int, n int) {
	s.resizing.Lock()
	defer s.resizing.Unlock()
	s.mu.Lock()
	*of = n
	n = min(s.max, s.most)
	s.mu.Unlock()
	for _, one := range s.list() {
		one.pool.Resize(n)
	}
}

// setLanes changes the number of lanes of each node.
func (s *nodes) setLanes(n int) {
	s.mu.Lock()
	s.lanes = n
	s.mu.Unlock()
	for _, one := range s.list() {
		one.pool.SetLanes(n)
	}
}

// close closes all pools and wakes the callers that wait for a route.
func (s *nodes) close(ctx context.Context) error {
	s.mu.Lock()
	again := s.closed
	if !s.closed {
		s.closed = true
		last := *s.now.Load()
		last.closed = true
		if s.owner != nil {
			last.only = nil // its pool stays open
		}
		s.publishLocked(&last)
	}
	s.mu.Unlock()
	all := s.list()
	if s.owner != nil {
		if !again {
			s.owner.giveBack(all[0].addr)
		}
		return nil
	}
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	for i, n := range all {
		wg.Go(func() { errs[i] = n.pool.Close(ctx) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
