package engine

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/pool"
	"github.com/seed-2b0d76a6/respool/internal/wire"
)

// node is one server of an engine, with the bound on its sockets.
type node struct {
	addr    string
	pool    *pool.Pool
	peer    *wire.Peer   // what the server said in handshakes
	probes  int          // under way; guarded by nodes.mu
	latency atomic.Int64 // of a PING in ns, smoothed; 0: not measured yet
	renewal renewal      // of its connections, where no sentinels tell the node
}

// nodes are the servers that an engine has sockets to. A pool stays as long as
// it has any, so that the bound holds for a node that left and came back.
type nodes struct {
	open func(addr string, peer *wire.Peer, suspended bool) *pool.Pool
	now  atomic.Pointer[route]
	turn atomic.Uint32

	mu     sync.Mutex
	all    map[string]*node
	max    int        // of Resize; 0: not used
	left   pool.Stats // what those counted that are not in all any more
	closed bool
}

func newNodes(open func(addr string, peer *wire.Peer, suspended bool) *pool.Pool) *nodes {
	s := &nodes{open: open, all: map[string]*node{}}
	s.now.Store(&route{changed: make(chan struct{})})
	return s
}

// use makes addr the only node, for ever.
func (s *nodes) use(addr string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.newNode(addr, false)
	s.all[addr] = n
	s.publishLocked(&route{only: n})
}

func (s *nodes) newNode(addr string, suspended bool) *node {
	peer := &wire.Peer{}
	return &node{addr: addr, pool: s.open(addr, peer, suspended), peer: peer}
}

// atLocked gives the node at addr, with a pool that is suspended if it is new.
func (s *nodes) atLocked(addr string) *node {
	n := s.all[addr]
	if n == nil {
		n = s.newNode(addr, true)
		if s.max > 0 {
			n.pool.Resize(s.max)
		}
		s.all[addr] = n
	}
	return n
}

// applyRoute sends commands to the nodes at addrs from now on, and suspends the
// others: what is due there is let in for at most drain. Whoever finds his
// node suspended finds the new route. It is called by one goroutine at a time.
//
// Pools are called without the lock: what they tell of may lead here again.
func (s *nodes) applyRoute(next route, addrs []string, drain time.Duration) {
	used := s.at(addrs)
	for _, n := range used {
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
	for _, n := range s.list() {
		if !slices.Contains(used, n) {
			n.pool.Suspend(drain)
			s.forget(n)
		}
	}
}

// at gives the nodes at addrs.
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

// forget drops a node to which there are no sockets, and keeps what it counted.
func (s *nodes) forget(n *node) {
	s.mu.Lock()
	if s.closed || n.probes > 0 || !n.pool.Empty() {
		s.mu.Unlock()
		return
	}
	delete(s.all, n.addr)
	last := n.pool.Stats()
	s.left.Add(&last)
	s.mu.Unlock()
	_ = n.pool.Close(context.Background()) // it has nothing to wait for
}

func (s *nodes) publishLocked(next *route) {
	next.changed = make(chan struct{})
	close(s.now.Swap(next).changed)
}

// probe asks one command of a node, in use or not.
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

// byAddr is the node at addr, or the one in use if it is gone. It is nil if there is none.
func (s *nodes) byAddr(addr string) *node {
	s.mu.Lock()
	n := s.all[addr]
	s.mu.Unlock()
	if n == nil {
		n = s.now.Load().node()
	}
	return n
}

// list gives the nodes there are sockets to.
func (s *nodes) list() []*node {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]*node, 0, len(s.all))
	for _, n := range s.all {
		list = append(list, n)
	}
	return list
}

// past is what was counted by nodes that are gone.
func (s *nodes) past() pool.Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.left
}

// limit is the bound in force: initial, or what resize made of it.
func (s *nodes) limit(initial int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.max > 0 {
		return s.max
	}
	return initial
}

func (s *nodes) resize(n int) {
	s.mu.Lock()
	s.max = n
	s.mu.Unlock()
	for _, one := range s.list() {
		one.pool.Resize(n)
	}
}

// close ends all pools and wakes those who wait for a route.
func (s *nodes) close(ctx context.Context) error {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		last := *s.now.Load()
		last.closed = true
		s.publishLocked(&last)
	}
	s.mu.Unlock()
	all := s.list()
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
