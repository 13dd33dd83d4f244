package respool

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/command"
	"github.com/seed-2b0d76a6/respool/internal/engine"
)

// ClusterOptions describe a Redis Cluster. The zero value of a field stands for its default.
//
// The client sends each command to the node that serves the hash slot of its keys, and follows the
// slots when they move. MaxConnections limits the connections to each node.
type ClusterOptions struct {
	// Addrs are nodes to contact first, each as host:port. They report the others. If no known node
	// answers, the client resolves these names again. Required: at least one.
	Addrs []string
	// MaxConnectionsTotal limits the sockets to all nodes together, in addition to MaxConnections,
	// which limits those to each node. Each primary has one place for a lane. The other places go to
	// the nodes in the order of their callers, and idle connections and the lanes of replicas make
	// room for them. Warm and Open fail if there are more primaries, or with RoleReplica not more
	// places than primaries. If the cluster grows beyond it later, the primaries take turns, and
	// EventTotalTooLow reports it. Default: 0, no limit.
	MaxConnectionsTotal int
	// CrossSlot decides about a command whose keys lie in several slots. Default: CrossSlotSplit.
	CrossSlot CrossSlot
	// QueryTimeout limits each query of a node for the slots, and each lookup of a name in Addrs.
	// At most 1 h. Default: 1 s.
	QueryTimeout time.Duration
	// DrainLimit limits the time for which the client still accepts replies of a node that it no
	// longer uses. At most 1 h. Default: 1 s.
	DrainLimit time.Duration
	// MapAddr returns the address to dial for an address that a node reports. It is for networks
	// behind NAT. It must always return the same address for the same argument. Default: none.
	MapAddr func(addr string) string
}

// CrossSlot decides about MGET, MSET, DEL, UNLINK, EXISTS, TOUCH and XREAD if their keys lie in
// several slots. The client refuses all other commands with such keys.
type CrossSlot uint8

// The choices.
const (
	// CrossSlotSplit sends a part of the command to each slot, at the same time, and joins the
	// replies. The whole is not atomic: other callers may see some parts executed and some not. If
	// a part of a command that writes fails, a *PartialError names the keys of the others.
	CrossSlotSplit  CrossSlot = iota
	CrossSlotReads            // splits only read-only commands: MGET, EXISTS, TOUCH and XREAD
	CrossSlotRefuse           // refuses all of them
)

// String returns split, reads or refuse.
func (c CrossSlot) String() string {
	if c > CrossSlotRefuse {
		return fmt.Sprintf("choice %d", uint8(c))
	}
	return [...]string{"split", "reads", "refuse"}[c]
}

// CrossSlotError is the error of a command, a transaction or a Watch whose keys lie in different
// slots of a cluster. Nothing was sent. Keys with the same hash tag, such as {user:1}:name and
// {user:1}:mail, lie in the same slot.
type CrossSlotError = command.CrossSlotError

// PartialError is the error of a command that was split over the slots of a cluster, if some of its
// parts failed and others took effect. Done contains the keys of the latter.
type PartialError = engine.PartialError

// checkCluster validates the options of a cluster and sets their defaults, in a copy.
func (o *Options) checkCluster(c *checker) {
	cluster := *o.Cluster
	o.Cluster = &cluster
	if o.Addr != "" || o.Network != "tcp" || o.Sentinel != nil || o.Service != "" {
		c.fail("Cluster", "set", "no Addr, Unix socket, Sentinel or Service beside it")
	}
	if len(cluster.Addrs) == 0 {
		c.fail("Cluster.Addrs", "empty", "host:port of one node or more")
	}
	for _, addr := range cluster.Addrs {
		if err := checkAddr("tcp", addr); err != nil {
			c.fail("Cluster.Addrs", fmt.Sprintf("%q", addr), err.Error())
		}
	}
	if o.DB != 0 {
		c.fail("DB", o.DB, "0: a cluster has one database")
	}
	o.checkRole(c)
	bounded(c, "Cluster.MaxConnectionsTotal", &o.Cluster.MaxConnectionsTotal, 0, 1)
	if cluster.CrossSlot > CrossSlotRefuse {
		c.fail("Cluster.CrossSlot", cluster.CrossSlot, "CrossSlotSplit, CrossSlotReads or CrossSlotRefuse")
	}
	bounded(c, "Cluster.QueryTimeout", &o.Cluster.QueryTimeout, time.Second, time.Millisecond)
	bounded(c, "Cluster.DrainLimit", &o.Cluster.DrainLimit, defaultDrainLimit, time.Millisecond)
	if o.Cluster.QueryTimeout > time.Hour || o.Cluster.DrainLimit > time.Hour {
		c.fail("Cluster.QueryTimeout, Cluster.DrainLimit", max(o.Cluster.QueryTimeout, o.Cluster.DrainLimit), "1h or less")
	}
}

// engineConfig converts validated options; nil: no cluster.
func (o *ClusterOptions) engineConfig() *engine.ClusterConfig {
	if o == nil {
		return nil
	}
	return &engine.ClusterConfig{
		Seeds: o.Addrs, MaxTotal: o.MaxConnectionsTotal, CrossSlot: engine.CrossSlot(o.CrossSlot), QueryTimeout: o.QueryTimeout, DrainLimit: o.DrainLimit,
		MapAddr: o.MapAddr,
	}
}

// movedCodes begin the errors of a cluster's node that does not serve a slot now.
var movedCodes = []string{"MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN"}

// slotMoved reports whether an error says that another node of a cluster serves the slot now.
func slotMoved(err error) bool {
	se, ok := errors.AsType[*ServerError](err)
	if !ok {
		return false
	}
	for _, code := range movedCodes {
		if se.Code == code || se.Code == "EXECABORT" && strings.Contains(se.Message, code) {
			return true
		}
	}
	return false
}

// ClusterStats is the state of a cluster, as the client knows it.
type ClusterStats struct {
	Version   uint64   // of the client's map of the slots; rises with each change; 0 before the first map
	Epoch     uint64   // of the cluster, in the answer that the map was made of
	Primaries []string // the addresses of the nodes that serve slots
	Covered   int      // slots that a node serves, of 16384
	Uncovered string   // the other slots, such as "0-99, 500"
	Err       error    // the reason why slots have no node, or no map is known; nil if all is well

	// Replicas are the addresses of the replicas that take reads, and Excluded those that take none,
	// with the reasons. Both are empty if Role is RolePrimary.
	Replicas []string
	Excluded []ExcludedReplica

	MaxConnectionsTotal int // the limit of the sockets to all nodes together; 0: none

	// Moved, Asked, TryAgain and Down count the refusals MOVED, ASK, TRYAGAIN and CLUSTERDOWN. The
	// client sends the refused commands again, with limits.
	Moved, Asked, TryAgain, Down uint64
}

// unclustered returns the reply to a command of a client for a single server. If the server is a node
// of a cluster that does not serve the key, its error says how to reach the other nodes.
func unclustered(frame []byte) Reply {
	r := Reply{frame: frame}
	if se, ok := errors.AsType[*ServerError](r.Err()); ok && (se.Code == "MOVED" || se.Code == "ASK") {
		return Reply{err: fmt.Errorf("respool: the server is one node of a cluster, and another node serves the key: "+
			"use the scheme redis+cluster or rediss+cluster, or Options.Cluster: %w", se)}
	}
	return r
}

// clusterStats converts the state that the engine reports.
func clusterStats(s *engine.ClusterStats) *ClusterStats {
	if s == nil {
		return nil
	}
	st := &ClusterStats{
		Version: s.Version, Epoch: s.Epoch, Primaries: s.Primaries, Covered: s.Covered, Uncovered: s.Uncovered, Err: wrapError(s.Err),
		Replicas: s.Replicas, MaxConnectionsTotal: s.MaxConnectionsTotal,
		Moved: s.Moved, Asked: s.Asked, TryAgain: s.TryAgain, Down: s.Down,
	}
	for _, x := range s.Excluded {
		st.Excluded = append(st.Excluded, ExcludedReplica(x))
	}
	return st
}
