package engine

import (
	"sync/atomic"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/topology"
	"github.com/seed-2b0d76a6/respool/internal/topology/sentinel"
)

// router decides which nodes take commands. It publishes a route in the engine's nodes at each change. The engine
// reports replies and failures to it. refused and lost must not block.
type router interface {
	// start begins the search for nodes, once. It does not wait.
	start()
	// stop ends the search. After it returns, the route does not change.
	stop()
	// finds reports whether another node may replace one that does not answer.
	finds() bool
	// refused reports that a node replied that it has another role, or no data.
	refused(n *node, kind topology.Evidence)
	// lost reports that a connection to the node at addr failed, or could not be dialed.
	lost(addr string)
	// explain returns the error of a caller whose wait for a route failed. cause ended the wait.
	explain(cause error) error
	// hopeless returns an error for callers that wait for the first route if waiting cannot help; else nil.
	hopeless(r *route) error
	// stats returns the state of the service; nil for a single address.
	stats() *ServiceStats
}

// route states where commands go at one moment. It is immutable.
type route struct {
	epoch   uint64
	only    *node   // the only node; nil if there are several or none
	several []*node // the nodes that take turns
	nearest bool    // only the nearest of them take turns
	turn    *atomic.Uint32
	held    string          // why writes are held back; empty: they are not
	report  *sentinel.Error // why no primary is known, according to the sentinels
	closed  bool            // the engine is closed
	changed chan struct{}   // closed when another route replaces this one
}

// node returns the node for one command; nil if none is known.
func (r *route) node() *node {
	if r.only != nil || len(r.several) == 0 {
		return r.only
	}
	among := r.several
	if r.nearest {
		among = near(among)
	}
	return among[int(r.turn.Add(1))%len(among)]
}

// pick returns the node for a command; nil if the command must wait.
func (r *route) pick(reads bool) *node {
	if r.held != "" && !reads {
		return nil
	}
	return r.node()
}

// nearMargin is the tolerance, in addition to a fifth, within which a node counts as near as the nearest one.
// Latencies in a network vary by that much.
const nearMargin = 100 * time.Microsecond

// near returns the nodes within the tolerance of the nearest, and those without a measurement.
func near(all []*node) []*node {
	least := int64(0)
	for _, n := range all {
		if l := n.latency.Load(); l > 0 && (least == 0 || l < least) {
			least = l
		}
	}
	var among []*node
	for _, n := range all {
		if n.latency.Load() <= least+least/5+int64(nearMargin) {
			among = append(among, n)
		}
	}
	return among
}

// nodes returns all nodes that take commands.
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

func (*fixedRouter) start()                    {}
func (*fixedRouter) stop()                     {}
func (*fixedRouter) finds() bool               { return false }
func (*fixedRouter) lost(string)               {}
func (*fixedRouter) explain(cause error) error { return cause }
func (*fixedRouter) hopeless(*route) error     { return nil }
func (*fixedRouter) stats() *ServiceStats      { return nil }

// refused replaces the connections at the pace of the node's redials.
func (f *fixedRouter) refused(n *node, kind topology.Evidence) {
	if n.redials.due(time.Now()) {
		n.pool.Redial("its server refused a command: " + kind.String())
		f.e.waits.moved()
	}
}
