package engine

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/pool"
)

// Stats is the state of an engine's connections at one moment, and what it counted since it was made.
type Stats struct {
	MaxConnections int          // the bound in force, for each node
	Nodes          []pool.Stats // by address: those in use and those that still have sockets
	Departed       pool.Stats   // what was counted at nodes that are gone
	Credentials    RenewalStats // of nodes and sentinels
	Users          UserStats
	Service        *ServiceStats // nil where there is one address
}

// Stats takes a snapshot. It is cheap, and works after Close too.
func (e *Engine) Stats() Stats {
	st := Stats{MaxConnections: e.nodes.limit(e.cfg.Pool.Max), Departed: e.nodes.past(), Users: e.users.stats(), Service: e.router.stats()}
	for _, n := range e.nodes.list() {
		one := n.pool.Stats()
		one.LastDialError = WrapError(cmp.Or(one.LastDialError, one.LastRefusal))
		st.Nodes = append(st.Nodes, one)
	}
	slices.SortFunc(st.Nodes, func(a, b pool.Stats) int { return strings.Compare(a.Addr, b.Addr) })
	e.renewer.addTo(&st.Credentials)
	if e.cfg.Sentinels != nil {
		e.cfg.Sentinels.renewer.addTo(&st.Credentials)
	}
	return st
}

// ServiceStats is what is known of a service by its sentinels.
type ServiceStats struct {
	Name    string
	Epoch   uint64 // rises with each new primary; 0 before the first one
	Primary string // the last one, if none is known now
	Known   bool   // whether Primary is believed to be primary
	Changed time.Time
	Cause   string // of the last change
	Err     error  // why no primary is known; nil if one is

	Replicas  []string          // to be used
	Excluded  []ExcludedReplica // not to be used
	Sentinels []SentinelStats
}

// ExcludedReplica is a replica that is not used, and why.
type ExcludedReplica struct{ Addr, Reason string }

// SentinelStats is what is known of one sentinel.
type SentinelStats struct {
	Addr    string
	ID      string // its own; empty where it is not known yet
	Learnt  bool   // from another sentinel: it is not in SentinelOptions.Addrs
	Sockets int    // the client's, and those of others that share its Sentinel: 2 at most
	State   string // how it was found, in words
	Said    string // what it said last
}

// stats is what the machine believes.
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
