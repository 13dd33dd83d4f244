package engine

import (
	"sync/atomic"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/topology/sentinel"
)

// router decides which nodes take commands: it publishes a route in the engine's nodes whenever that
// changes. It learns from replies and failures. What it is told of must not block.
type router interface {
	// start begins the search for nodes, once. It does not wait.
	start()
	// stop ends it: no route changes any more when it returns.
	stop()
	// finds reports whether another node may take the place of one that does not answer.
	finds() bool
	// refused takes in that a node replied that it has another role, or no data.
	refused(n *node, kind sentinel.EvidenceKind)
	// lost takes in that a connection to the node at addr broke, or could not be made.
	lost(addr string)
	// explain is the error of a caller that waited in vain for a route. cause is why the wait ended.
	explain(cause error) error
	// hopeless is the error of callers that wait for the first route where nothing but time can't help; else nil.
	hopeless(r *route) error
	// stats are what is known of the service; nil where there is one address.
	stats() *ServiceStats
}

// route says where commands go at one moment. It is not changed.
type route struct {
	epoch   uint64
	only    *node   // where all go; nil if there are several or none
	several []*node // among which each command takes its turn
	nearest bool    // the nearest of them take turns alone
	turn    *atomic.Uint32
	held    string          // why writes wait; empty: they don't
	report  *sentinel.Error // why no primary is known, where sentinels have told
	closed  bool            // the engine is
	changed chan struct{}   // closed when another route has taken its place
}

// node picks the node for one command; nil if none is known.
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

// pick is the node for a command now; nil if it has to wait. A cluster's route will need the slot of its keys
// here as well.
func (r *route) pick(reads bool) *node {
	if r.held != "" && !reads {
		return nil
	}
	return r.node()
}

// nearMargin is by how much, beside a fifth, a node may be farther away than the
// nearest one and still have its turn: networks are no more even than that.
const nearMargin = 100 * time.Microsecond

// near gives the nodes that are as good as the nearest, and those not measured yet.
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

// nodes are all to which commands go.
func (r *route) nodes() []*node {
	if r.only != nil {
		return []*node{r.only}
	}
	return r.several
}
