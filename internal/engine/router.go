package engine

import (
	"math"
	"sync/atomic"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/command"
	"github.com/seed-2b0d76a6/respool/internal/topology"
	"github.com/seed-2b0d76a6/respool/internal/topology/sentinel"
)

// router decides which nodes take commands. It publishes a route at each change, with nodes.applyRoute (or nodes.use, for one
// node that stays). It calls nodes.announce if callers must look again at an unchanged route, waits.renew if connections of
// watched keys must be replaced, and, if slots have moved, Engine.reroute for subscriptions and waits.follow for watched keys.
//
// The engine reports replies and failures to it. refused, redirected and lost must not block.
type router interface {
	// start begins the search for nodes, once. It does not wait.
	start()
	// stop ends the search. After it returns, the route does not change.
	stop()
	// finds reports whether another node may replace one that does not answer.
	finds() bool
	// refused reports that a node refused a command because of its role or state: READONLY, MASTERDOWN, LOADING, CLUSTERDOWN
	// and others.
	refused(n *node, kind topology.Evidence)
	// redirected reports a redirect, and returns the node that it names; nil if there is none.
	redirected(from target, r *redirect) *node
	// lost reports that a connection to the node at addr failed, or could not be dialed.
	lost(addr string)
	// seek finds out who takes a request of a slot instead of a node that does not take it now. key is one of its keys; if it
	// is nil, they are in raw, which is not retained. seek does not wait: the route changes when there is another node.
	seek(n *node, at slot, key, raw []byte)
	// subscribed reports that a connection for subscriptions was opened.
	subscribed()
	// certificateName returns the address whose host the certificate of the node at addr must name.
	certificateName(addr string) string
	// explain returns the error of a caller whose wait for a route failed. cause ended the wait.
	explain(cause error) error
	// hopeless returns an error for callers that wait for the first route if waiting cannot help; else nil.
	hopeless(r *route) error
	// failedRead reports that a replica of a cluster refused a read for a reason of its own.
	failedRead(n *node)
	// stats returns the state of the service; nil for a single address.
	stats() *ServiceStats
}

// route states where commands go at one moment. It is immutable.
type route struct {
	epoch   uint64
	only    *node   // the only node; nil if there are several or none
	several []*node // the nodes that take turns
	others  []*node // further nodes in use: the replicas of a cluster, if reads go to them
	nearest bool    // only the nearest take turns
	turn    *atomic.Uint32
	held    string          // why writes are held back; empty: they are not
	report  *sentinel.Error // why no primary is known, according to the sentinels
	slots   *slotMap        // of a cluster; nil: none
	closed  bool            // the engine is closed
	changed chan struct{}   // closed when another route replaces this one
}

// node returns the node for one command; nil if none is known.
func (r *route) node() *node {
	if r.only != nil || len(r.several) == 0 {
		return r.only
	}
	return r.turnOf(r.several)
}

// owner returns the primary that serves a slot of a cluster; nil if none does.
func (r *route) owner(s slot) *node {
	if r.slots == nil {
		return nil
	}
	return r.slots.owner(s)
}

// turnOf returns the node of some whose turn it is.
func (r *route) turnOf(among []*node) *node {
	if len(among) == 1 {
		return among[0]
	}
	farthest, near := farthestOf(among, r.nearest), 0
	for _, n := range among {
		if n.latency.Load() <= farthest {
			near++
		}
	}
	if near == 0 { // latencies have changed meanwhile
		return among[0]
	}
	turn := int(r.turn.Add(1)) % near
	for _, n := range among {
		if n.latency.Load() > farthest {
			continue
		}
		if turn == 0 {
			return n
		}
		turn--
	}
	return among[0]
}

// pick returns the node for a command whose keys lie in a slot. Its node is nil if the command must wait. reads is nil for
// a command that may write.
func (r *route) pick(s slot, reads *reading) target {
	if r.slots == nil {
		return r.pickAny(reads == nil)
	}
	return r.slots.pick(s, reads, r)
}

// first is pick for the first attempt of a command.
func (r *route) first(info *command.Info, at slot) target {
	if r.slots == nil {
		return r.pickAny(!info.ReadOnly)
	}
	return r.slots.first(info, at, r)
}

// pickAny is pick outside a cluster.
func (r *route) pickAny(writes bool) target {
	if writes && r.held != "" {
		return target{}
	}
	return target{node: r.node()}
}

// replaced reports whether another node than n takes a request now, so that there is no reason to pause.
func (r *route) replaced(n *node, req *request) bool {
	if r.slots != nil && req.slot != anySlot {
		now := r.slots.owner(req.slot)
		return now != nil && now != n
	}
	return r.only != nil && r.only != n
}

// nearMargin is the tolerance, in addition to a fifth, within which a node counts as near as the nearest one.
// Latencies in a network vary by that much.
const nearMargin = 100 * time.Microsecond

// farthestOf returns the largest latency of the nodes that take turns. nearest: only the nearest do, and those without a
// measurement.
func farthestOf(all []*node, nearest bool) int64 {
	if !nearest {
		return math.MaxInt64
	}
	least := int64(0)
	for _, n := range all {
		if l := n.latency.Load(); l > 0 && (least == 0 || l < least) {
			least = l
		}
	}
	return least + least/5 + int64(nearMargin)
}

// nodes returns the nodes that take commands: in a cluster, the primaries.
func (r *route) nodes() []*node {
	if r.only != nil {
		return []*node{r.only}
	}
	return r.several
}

// fixedRouter sends all commands to one address. The name may resolve to another server later. If the server refuses
// commands because of its role or state, the router redials the connections.
type fixedRouter struct{ e *Engine }

func newFixedRouter(e *Engine) *fixedRouter {
	e.nodes.use(e.cfg.Addr)
	return &fixedRouter{e}
}

func (*fixedRouter) start()                             {}
func (*fixedRouter) stop()                              {}
func (*fixedRouter) finds() bool                        { return false }
func (*fixedRouter) lost(string)                        {}
func (*fixedRouter) subscribed()                        {}
func (*fixedRouter) failedRead(*node)                   {}
func (*fixedRouter) certificateName(addr string) string { return addr }
func (*fixedRouter) seek(*node, slot, []byte, []byte)   {}
func (*fixedRouter) redirected(target, *redirect) *node { return nil }
func (*fixedRouter) explain(cause error) error          { return cause }
func (*fixedRouter) hopeless(*route) error              { return nil }
func (*fixedRouter) stats() *ServiceStats               { return nil }

func (f *fixedRouter) refused(n *node, kind topology.Evidence) { f.e.redialRefusing(n, kind) }
