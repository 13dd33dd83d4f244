package engine

import (
	"context"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/pool"
	"github.com/seed-2b0d76a6/respool/internal/topology"
	"github.com/seed-2b0d76a6/respool/internal/topology/cluster"
	"github.com/seed-2b0d76a6/respool/internal/topology/readers"
	"github.com/seed-2b0d76a6/respool/resp"
)

// apply routes commands according to a map.
func (c *clusterRouter) apply(m *cluster.Map) {
	shards := make([]shard, len(m.Shards))
	var used, others []*node
	c.useReaders(m)
	for i := range m.Shards {
		n := c.node(m.Shards[i].Primary)
		if n == nil {
			return // the engine is closed
		}
		shards[i].primary = n
		used = append(used, n)
		if c.readers != nil {
			replicas := c.nodesOf(m.Shards[i].Replicas)
			others = append(others, replicas...)
			shards[i].readers, shards[i].turn = c.usable(replicas), new(atomic.Uint32)
		}
	}
	service := &c.e.cfg.Service
	c.e.nodes.applyRoute(route{
		epoch: m.Version, others: others, nearest: service.Nearest,
		slots: &slotMap{version: m.Version, owners: &m.Owner, shards: shards, role: service.Role},
	}, used, c.e.cluster.DrainLimit)
	c.e.reroute()
	c.e.waits.follow()
	if c.readers != nil {
		c.suspendAgain(settleFor)
	}
}

// settleFor is the time after a change of the map after which the connections of nodes that have another role are closed
// again: a caller that used the previous map may have opened one meanwhile.
const settleFor = time.Second

// reapply is apply for the present map, when other replicas take reads.
func (c *clusterRouter) reapply() {
	if m := c.current.Load(); m != nil {
		c.apply(m)
	}
}

// compareTotal reports that there are more primaries than MaxTotal, once.
func (c *clusterRouter) compareTotal(primaries int) {
	err := totalError{primaries, c.e.cluster.MaxTotal, c.e.cfg.Service.Role}
	before := c.tooLow
	if c.tooLow = err.tooLow(); c.tooLow && !before {
		c.notice(Event{Kind: TotalTooLow, Addr: c.e.place(), Reason: err.Error(), Err: err})
	}
}

// node returns the engine's node for a node of the cluster; nil after Close.
func (c *clusterRouter) node(n cluster.Node) *node {
	if n.Hostname != "" {
		c.names.Store(n.Addr, n.Hostname)
	}
	if list := c.e.nodes.at([]string{n.Addr}); list != nil {
		return list[0]
	}
	return nil
}

// certificateName returns the address whose host the certificate of the node at addr must name.
func (c *clusterRouter) certificateName(addr string) string {
	name, ok := c.names.Load(addr)
	if !ok {
		return addr
	}
	_, port, _ := net.SplitHostPort(addr)
	return net.JoinHostPort(name.(string), port)
}

// redirected reports a redirect to the machine, and returns the node that it names, ready for commands.
func (c *clusterRouter) redirected(from target, r *redirect) *node {
	c.refusals[r.kind-topology.Moved].Add(1)
	if r.kind == topology.Asked {
		c.post(cluster.Ask{From: from.addr, To: r.addr})
	} else {
		c.post(cluster.Moved{Slot: r.slot, From: from.addr, To: r.addr, Version: from.version})
	}
	sender := cluster.Node{Addr: from.addr}
	if name, ok := c.names.Load(from.addr); ok {
		sender.Hostname = name.(string)
	}
	to, ok := c.cfg.Target(sender, r.addr)
	if !ok {
		return nil
	}
	n := c.node(to)
	if n == nil {
		return nil
	}
	if n == from.node && r.kind == topology.Moved {
		c.e.redialRefusing(n, topology.Moved)
	}
	c.ready(n)
	if from.replica && r.kind == topology.Moved && c.e.nodes.now.Load().owner(slot(r.slot+1)) == n {
		c.failedRead(from.node) // it has not learned of its slots yet, or follows another primary
	}
	return n
}

// ready takes a node into use for some time, although the map may not name it as a primary.
func (c *clusterRouter) ready(n *node) {
	n.named.Store(time.Now().UnixNano())
	n.pool.Resume()
	c.suspendAgain(strayFor)
}

// suspendAgain has suspendStrays run after a time, or earlier.
func (c *clusterRouter) suspendAgain(after time.Duration) {
	at := time.Now().Add(after)
	c.mu.Lock()
	if c.strays.IsZero() || at.Before(c.strays) {
		c.strays = at
	}
	c.mu.Unlock()
	c.rouse()
}

// strayFor is how long a node stays in use after a redirect to it, if the map does not contain it.
const strayFor = 5 * time.Second

// redirectedTo reports whether a redirect led to the node a short time ago.
func (n *node) redirectedTo() bool {
	at := n.named.Load()
	return at != 0 && time.Since(time.Unix(0, at)) < strayFor
}

// suspendStrays suspends the nodes to which redirects led, and which the map does not contain.
func (c *clusterRouter) suspendStrays() {
	c.mu.Lock()
	due := !c.strays.IsZero() && !time.Now().Before(c.strays)
	if due {
		c.strays = time.Time{}
	}
	c.mu.Unlock()
	if !due {
		return
	}
	c.e.nodes.suspendUnused(c.e.cluster.DrainLimit)
	if slices.ContainsFunc(c.e.nodes.list(), (*node).redirectedTo) {
		c.suspendAgain(strayFor)
	}
}

// lost passes evidence to the machine.
func (c *clusterRouter) lost(addr string) {
	if c.readers != nil {
		c.readers.Doubt(addr, 0)
	}
	c.post(cluster.Evidence{Kind: topology.ConnLost, Addr: addr})
}

// readersChanged reports that other replicas take reads.
type readersChanged struct{ cluster.Tick }

func (c *clusterRouter) newReaders() *readers.Set {
	return readers.New(readers.Config{
		MaxLag: c.e.cfg.Service.MaxReplicaLag, Timeout: c.e.cluster.QueryTimeout,
		Ask: func(ctx context.Context, addr string) (resp.Value, error) {
			frame, err := c.e.nodes.probe(ctx, addr, "ROLE")
			if err != nil {
				return resp.Value{}, err
			}
			return decoded(frame)
		},
		Changed: func() { c.post(readersChanged{}) },
	})
}

// useReaders passes the replicas of a map to the set of readers.
func (c *clusterRouter) useReaders(m *cluster.Map) {
	if c.readers == nil {
		return
	}
	shards := make([]readers.Shard, len(m.Shards))
	for i, s := range m.Shards {
		shards[i].Primary = s.Primary.Addr
		for _, r := range s.Replicas {
			shards[i].Replicas = append(shards[i].Replicas, r.Addr)
		}
	}
	c.readers.Use(shards)
}

// nodesOf returns the engine's nodes for nodes of the cluster.
func (c *clusterRouter) nodesOf(list []cluster.Node) (nodes []*node) {
	for _, one := range list {
		if n := c.node(one); n != nil {
			nodes = append(nodes, n)
		}
	}
	return nodes
}

// usable returns those of some replicas that may take reads.
func (c *clusterRouter) usable(replicas []*node) (usable []*node) {
	for _, n := range replicas {
		if c.readers.Usable(n.addr) {
			usable = append(usable, n)
		}
	}
	return usable
}

// excluded returns the replicas that take no reads, with the reasons.
func (c *clusterRouter) excluded() (list []ExcludedReplica) {
	if c.readers != nil {
		for _, x := range c.readers.Excluded() {
			list = append(list, ExcludedReplica(x))
		}
	}
	return list
}

func excludedReport(list []ExcludedReplica) string {
	var reasons []string
	for _, x := range list {
		reasons = append(reasons, x.Addr+" "+x.Reason)
	}
	return "no replica is usable: " + strings.Join(reasons, "; ")
}

// refusedFor is how long a replica that refused a read takes none. It says that it is healthy, so only the next map can
// tell more.
const refusedFor = time.Second

// failedRead excludes a replica for a while.
func (c *clusterRouter) failedRead(n *node) {
	if c.readers != nil {
		c.readers.Doubt(n.addr, refusedFor)
	}
}

// queryLane returns a lane for a query about the map. It opens none at a replica.
func (c *clusterRouter) queryLane(ctx context.Context, n *node) (*lane.Lane, lane.Options, error) {
	if !slices.Contains(c.e.nodes.now.Load().others, n) {
		return laneOf(ctx, n.pool.Zero(), pool.Any, nil)
	}
	return target{node: n, replica: true, yields: true}.laneOf(ctx, Identity{}, pool.Any, nil)
}
