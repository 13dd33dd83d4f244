package engine

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/blocking"
	"github.com/seed-2b0d76a6/respool/internal/keywatch"
	"github.com/seed-2b0d76a6/respool/internal/pool"
)

// Stats is a snapshot of an engine's connections and counters.
type Stats struct {
	MaxConnections int          // the current bound, for each node
	Nodes          []pool.Stats // sorted by address: nodes in use, and nodes that still have sockets
	Departed       pool.Stats   // counters of departed nodes
	Credentials    RenewalStats // of nodes and sentinels
	Users          UserStats
	Blocking       BlockingStats
	Service        *ServiceStats // nil for a single address
}

// Stats returns a snapshot. It is cheap, and works after Close too.
func (e *Engine) Stats() Stats {
	st := Stats{MaxConnections: e.nodes.limit(e.cfg.Pool.Max), Departed: e.nodes.past(), Users: e.users.stats(), Service: e.router.stats()}
	for _, n := range e.nodes.list() {
		one := n.pool.Stats()
		one.LastDialError = WrapError(cmp.Or(one.LastDialError, one.LastRefusal))
		st.Nodes = append(st.Nodes, one)
	}
	slices.SortFunc(st.Nodes, func(a, b pool.Stats) int { return strings.Compare(a.Addr, b.Addr) })
	st.Blocking = BlockingStats{Waits: e.waits.parked.Stats(), Watcher: e.waits.watcher.Stats()}
	e.renewer.addTo(&st.Credentials)
	if e.cfg.Sentinels != nil {
		e.cfg.Sentinels.renewer.addTo(&st.Credentials)
	}
	return st
}

// BlockingStats are the figures of blocking commands that wait without a dedicated connection.
type BlockingStats struct {
	Waits   blocking.Stats
	Watcher keywatch.Stats // its Refusal is why blocking commands need dedicated connections
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
	sockets := f.sentinels.links.Sockets()
	for _, p := range v.Sentinels {
		st.Sentinels = append(st.Sentinels, SentinelStats{
			Addr: p.Addr, ID: p.ID, Learnt: !p.Configured, Sockets: sockets[p.Addr], State: p.Finding.String(), Said: p.Said,
		})
	}
	return st
}
