package engine

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/blocking"
	"github.com/seed-2b0d76a6/respool/internal/identity"
	"github.com/seed-2b0d76a6/respool/internal/keywatch"
	"github.com/seed-2b0d76a6/respool/internal/pool"
	"github.com/seed-2b0d76a6/respool/internal/renewal"
	"github.com/seed-2b0d76a6/respool/internal/topology"
)

// Stats is a snapshot of an engine's connections and counters.
type Stats struct {
	MaxConnections int           // the current bound, for each node
	Nodes          []pool.Stats  // sorted by address: nodes in use, and nodes that still have sockets
	Departed       pool.Stats    // counters of departed nodes
	Credentials    renewal.Stats // of nodes and sentinels
	Users          identity.Stats
	Blocking       BlockingStats
	Service        *ServiceStats // nil without sentinels
	Cluster        *ClusterStats // nil without a cluster
}

// ClusterStats is the state of a cluster, as an engine knows it.
type ClusterStats struct {
	Version   uint64   // of the map; rises with each change; 0 before the first map
	Epoch     uint64   // of the cluster, in the answer of which the map was made
	Primaries []string // addresses, sorted
	Covered   int      // slots with an owner
	Uncovered string   // the others, as a text such as "0-99, 500"
	Err       error    // why slots have no owner, or no map is known; nil: all is well

	Replicas []string          // those that take reads; none if Role is Primary
	Excluded []ExcludedReplica // those that take no reads, although the role asks for it

	MaxConnectionsTotal int // the limit of the sockets to all nodes; 0: none

	Moved, Asked, TryAgain, Down uint64 // refusals of nodes, by kind
}

// clusterStats returns the state of the cluster.
func (c *clusterRouter) clusterStats() *ClusterStats {
	count := func(kind topology.Evidence) uint64 { return c.refusals[kind-topology.Moved].Load() }
	st := &ClusterStats{
		Moved: count(topology.Moved), Asked: count(topology.Asked), TryAgain: count(topology.TryAgain), Down: count(topology.ClusterDown),
	}
	st.MaxConnectionsTotal = c.e.cluster.MaxTotal
	if report := c.lostNow.Load(); report != nil {
		st.Err = report
	}
	if m := c.current.Load(); m != nil {
		st.Version, st.Epoch, st.Covered, st.Uncovered = m.Version, m.Epoch, m.Covered(), m.Uncovered()
		for i := range m.Shards {
			st.Primaries = append(st.Primaries, m.Shards[i].Primary.Addr)
		}
		slices.Sort(st.Primaries)
	}
	if r := c.e.nodes.now.Load(); r.slots != nil {
		for i := range r.slots.shards {
			for _, n := range r.slots.shards[i].readers {
				st.Replicas = append(st.Replicas, n.addr)
			}
		}
		slices.Sort(st.Replicas)
	}
	st.Excluded = c.excluded()
	return st
}

// Stats returns a snapshot. It is cheap, and works after Close too.
func (e *Engine) Stats() Stats {
	limit, _ := e.nodes.bound()
	st := Stats{MaxConnections: limit, Departed: e.nodes.past(), Users: e.users.Stats(), Service: e.router.stats()}
	if c, ok := e.router.(*clusterRouter); ok {
		st.Cluster = c.clusterStats()
	}
	for _, n := range e.nodes.list() {
		one := n.pool.Stats()
		one.LastDialError = WrapError(cmp.Or(one.LastDialError, one.LastRefusal))
		st.Nodes = append(st.Nodes, one)
	}
	slices.SortFunc(st.Nodes, func(a, b pool.Stats) int { return strings.Compare(a.Addr, b.Addr) })
	st.Blocking = BlockingStats{Waits: e.waits.parked.Stats(), Watcher: e.waits.keys.Stats()}
	e.renewer.AddTo(&st.Credentials)
	if e.cfg.Sentinels != nil {
		e.cfg.Sentinels.AddRenewals(&st.Credentials)
	}
	return st
}

// BlockingStats are the figures of blocking commands that wait without a dedicated connection.
type BlockingStats struct {
	Waits   blocking.Stats
	Watcher keywatch.Stats // of all nodes; its Refusal is why blocking commands need dedicated connections
}

// ServiceStats is the state of a service according to its sentinels.
type ServiceStats struct {
	Name    string
	Epoch   uint64 // rises with each new primary; 0 before the first
	Primary string // the last known primary
	Known   bool   // Primary is the current primary
	Changed time.Time
	Cause   string // cause of the last change
	Err     error  // why no primary is known; nil if one is known

	Replicas  []string          // usable replicas
	Excluded  []ExcludedReplica // unusable replicas
	Sentinels []SentinelStats
}

// ExcludedReplica is an unusable replica and the reason.
type ExcludedReplica struct{ Addr, Reason string }

// SentinelStats is the state of one sentinel.
type SentinelStats struct {
	Addr    string
	ID      string // its run ID; empty if unknown
	Learnt  bool   // reported by another sentinel, not in SentinelOptions.Addrs
	Sockets int    // sockets of all clients that share the Sentinels: 2 at most
	State   string // its state in words
	Said    string // its last answer
}

// stats returns the current belief of the machine.
func (f *sentinelRouter) stats() *ServiceStats {
	st := &ServiceStats{Name: f.e.cfg.Service.Name}
	s := f.service.Load()
	if s == nil {
		return st
	}
	v, now := s.View()
	st.Epoch, st.Primary, st.Known, st.Cause, st.Replicas = v.Epoch, v.Primary, v.Known, v.Cause, v.Replicas
	if v.Changed > 0 {
		st.Changed = time.Now().Add(v.Changed - now)
	}
	if v.Err != nil {
		st.Err = v.Err
	}
	for _, l := range v.LeftOut {
		st.Excluded = append(st.Excluded, ExcludedReplica(l))
	}
	sockets := f.sentinels.Sockets()
	for _, p := range v.Sentinels {
		st.Sentinels = append(st.Sentinels, SentinelStats{
			Addr: p.Addr, ID: p.ID, Learnt: !p.Configured, Sockets: sockets[p.Addr], State: p.Finding.String(), Said: p.Said,
		})
	}
	return st
}
