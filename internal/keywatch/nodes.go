package keywatch

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// NodesConfig configures a Nodes. All functions are required. They must not block or call the Nodes, except Changed.
type NodesConfig[P, N comparable] struct {
	Part    func(key string) P // the part that a key belongs to, such as its slot
	Owner   func(P) N          // the node that serves a part now; the zero N: none
	Gone    func(N) bool       // no part is served by the node now
	Open    func(N) *Node      // returns a Node for a node
	Changed func(key string)   // the key may have changed, because it has moved, or its part may have moved
}

// Nodes watches the keys of one owner at several nodes, each key at the node that serves it. The keys form parts, which
// move from node to node as a whole. There is one Node for each node that serves keys, or did so.
//
// The server that a part leaves pushes nothing about keys that do not exist. The Nodes therefore reports one key of each
// part every few seconds: the owner looks at it, and learns from the reply that the part has moved.
//
// All methods are safe for concurrent use. The caller must close it.
type Nodes[P, N comparable] struct {
	cfg      NodesConfig[P, N]
	watchers atomic.Pointer[[]*Watcher] // of all nodes; immutable

	mu     sync.Mutex
	parts  map[P]*part[N]
	nodes  map[N]*place
	past   Stats  // counters of the nodes that are not in nodes any more
	calls  []call // to make without mu, in order
	busy   bool   // a goroutine makes them
	timer  *time.Timer
	armed  bool
	closed bool
	wg     sync.WaitGroup // closes of nodes, and runs of the timer
}

// A check reports one key of each part. It takes some of the parts if there are many: one that has moved is enough to
// find the others.
const (
	checkPeriod = 3 * time.Second // less up to a quarter
	mostChecked = 500
)

// part holds the watched keys of a part. It has at least one.
type part[N comparable] struct {
	at   N // where they are watched; the zero N: nowhere, because no node serves the part
	keys map[string]struct{}
}

// place is a Node with the number of parts that are watched there.
type place struct {
	*Node
	parts int
}

// call is a call of a method of a Node, or of NodesConfig.Changed.
type call struct {
	of  func(key string)
	key string
}

// NewNodes returns a Nodes without keys. It opens no connection.
func NewNodes[P, N comparable](cfg NodesConfig[P, N]) *Nodes[P, N] {
	n := &Nodes[P, N]{cfg: cfg, parts: map[P]*part[N]{}, nodes: map[N]*place{}}
	n.watchers.Store(&[]*Watcher{})
	return n
}

// Add watches a key at its node. See Set.Add. If no node serves the key, Move begins the watch when one does.
func (n *Nodes[P, N]) Add(key string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return
	}
	name := n.cfg.Part(key)
	p := n.parts[name]
	if p == nil {
		p = &part[N]{keys: map[string]struct{}{}}
		n.parts[name] = p
		n.settleLocked(p, n.cfg.Owner(name))
	}
	p.keys[key] = struct{}{}
	if at := n.nodes[p.at]; at != nil {
		n.calls = append(n.calls, call{at.Add, key})
	}
	n.armLocked()
	n.makeLocked()
}

// Drop ends the interest in a key. See Set.Drop.
func (n *Nodes[P, N]) Drop(key string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	name := n.cfg.Part(key)
	p := n.parts[name]
	if p == nil {
		return
	}
	if _, watched := p.keys[key]; !watched {
		return
	}
	delete(p.keys, key)
	if at := n.nodes[p.at]; at != nil {
		n.calls = append(n.calls, call{at.Drop, key})
		if len(p.keys) == 0 {
			at.parts--
		}
	}
	if len(p.keys) == 0 {
		delete(n.parts, name)
	}
	n.makeLocked()
}

// Move watches the keys at the nodes that serve them now. It reports those that have moved, because they may have
// changed meanwhile. Keys that no node serves stay where they are. It closes the nodes that are gone.
func (n *Nodes[P, N]) Move() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return
	}
	var none N
	for name, p := range n.parts {
		to := n.cfg.Owner(name)
		if to == p.at || to == none {
			continue
		}
		from := n.nodes[p.at]
		n.settleLocked(p, to)
		at := n.nodes[to]
		for key := range p.keys {
			if from != nil {
				n.calls = append(n.calls, call{from.Drop, key})
			}
			n.calls = append(n.calls, call{at.Add, key}, call{n.cfg.Changed, key})
		}
	}
	for name, at := range n.nodes {
		if at.parts == 0 && n.cfg.Gone(name) {
			delete(n.nodes, name)
			n.publishLocked()
			n.past.addCounters(at.Stats())
			n.wg.Go(at.Close)
		}
	}
	n.makeLocked()
}

// armLocked sets the timer of the next check, unless it is set.
func (n *Nodes[P, N]) armLocked() {
	if n.armed || n.closed || len(n.parts) == 0 {
		return
	}
	n.armed = true
	n.wg.Add(1)
	d := checkPeriod - rand.N(checkPeriod/4)
	if n.timer == nil {
		n.timer = time.AfterFunc(d, n.check)
	} else {
		n.timer.Reset(d)
	}
}

// check reports one key of each part.
func (n *Nodes[P, N]) check() {
	defer n.wg.Done()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.armed = false
	left := mostChecked
	for _, p := range n.parts {
		for key := range p.keys {
			n.calls = append(n.calls, call{n.cfg.Changed, key})
			break
		}
		if left--; left == 0 {
			break
		}
	}
	n.armLocked()
	n.makeLocked()
}

// settleLocked decides that a part is watched at a node; the zero N: nowhere.
func (n *Nodes[P, N]) settleLocked(p *part[N], to N) {
	if at := n.nodes[p.at]; at != nil {
		at.parts--
	}
	p.at = to
	var none N
	if to == none {
		return
	}
	at := n.nodes[to]
	if at == nil {
		at = &place{Node: n.cfg.Open(to)}
		n.nodes[to] = at
		n.publishLocked()
	}
	at.parts++
}

func (n *Nodes[P, N]) publishLocked() {
	all := make([]*Watcher, 0, len(n.nodes))
	for _, at := range n.nodes {
		all = append(all, at.Watchers()...)
	}
	n.watchers.Store(&all)
}

// makeLocked makes the calls, without mu. One goroutine at a time makes them, so that those for a key keep their order.
// Calls may add further ones.
func (n *Nodes[P, N]) makeLocked() {
	if n.busy {
		return
	}
	n.busy = true
	for len(n.calls) > 0 {
		calls := n.calls
		n.calls = nil
		n.mu.Unlock()
		for _, c := range calls {
			c.of(c.key)
		}
		n.mu.Lock()
	}
	n.busy = false
}

// Again applies a change of SetConfig.Polling.
func (n *Nodes[P, N]) Again() {
	for _, at := range n.all() {
		at.Again()
	}
}

func (n *Nodes[P, N]) all() []*place {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := make([]*place, 0, len(n.nodes))
	for _, at := range n.nodes {
		all = append(all, at)
	}
	return all
}

// Watchers returns the Watchers of the nodes. The caller must not change the slice.
func (n *Nodes[P, N]) Watchers() []*Watcher { return *n.watchers.Load() }

// Stats returns the sum of the figures of all nodes.
func (n *Nodes[P, N]) Stats() Stats {
	n.mu.Lock()
	defer n.mu.Unlock()
	sum := n.past
	for _, at := range n.nodes {
		one := at.Stats()
		sum.addCounters(one)
		sum.Keys += one.Keys
		sum.Watches += one.Watches
		sum.Connected = sum.Connected || one.Connected
		if sum.Refusal == nil {
			sum.Refusal = one.Refusal
		}
		if sum.LastError == nil {
			sum.LastError = one.LastError
		}
	}
	return sum
}

// addCounters adds the counters of another node.
func (s *Stats) addCounters(other Stats) {
	s.Exists += other.Exists
	s.Invalidations += other.Invalidations
	s.Notifications += other.Notifications
	s.LastResort += other.LastResort
	s.Reconnects += other.Reconnects
}

// Close ends all watches, and waits for running notifications and for the goroutines. It must not be called by a
// Subscriber.
func (n *Nodes[P, N]) Close() {
	n.mu.Lock()
	n.closed = true
	clear(n.parts)
	if n.armed && n.timer.Stop() {
		n.armed = false
		n.wg.Done()
	}
	n.mu.Unlock()
	for _, at := range n.all() {
		at.Close()
	}
	n.wg.Wait()
}
