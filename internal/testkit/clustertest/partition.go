//go:build unix

package clustertest

import (
	"fmt"
	"slices"

	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// Partition isolates nodes from the other nodes, until Heal: the bytes of their buses and of their
// replication are lost. Clients still reach all nodes. After the node timeout, isolated primaries
// refuse commands, and their replicas on the other side take over. WaitAgreed, Owner and the like see
// the other side only. It needs Linux, Config.Relays and Config.BusRelays.
func (c *Cluster) Partition(isolated ...*Node) {
	c.t.Helper()
	if !c.cfg.Relays || !c.cfg.BusRelays {
		c.t.Fatal("partition a cluster: nodes connect directly: set Relays and BusRelays")
	}
	c.mu.Lock()
	for _, n := range c.nodes {
		n.isolated = slices.Contains(isolated, n)
	}
	c.mu.Unlock()
	c.applyBlocks()
}

// Heal ends Partition and waits until the cluster is healthy.
func (c *Cluster) Heal() {
	c.t.Helper()
	c.mu.Lock()
	for _, n := range c.nodes {
		n.isolated = false
	}
	c.mu.Unlock()
	c.applyBlocks()
	c.waitHealthy()
}

// BlockClients separates clients from a node, until it is called with false: the bytes of their open
// and new connections are lost. The other nodes still reach the node. It needs Linux and Config.Relays.
func (n *Node) BlockClients(on bool) {
	n.c.t.Helper()
	if n.Relay == nil {
		n.c.t.Fatal("block the clients of a node: they connect directly: set Relays")
	}
	n.c.mu.Lock()
	n.clientsBlocked = on
	n.c.mu.Unlock()
	n.c.applyBlocks()
}

// applyBlocks makes the relays block what Partition and BlockClients ask for.
func (c *Cluster) applyBlocks() {
	c.mu.Lock()
	defer c.mu.Unlock()
	var sides [2][]*redistest.Server // 1: isolated
	side := func(n *Node) int {
		if n.isolated {
			return 1
		}
		return 0
	}
	for _, n := range c.nodes {
		sides[side(n)] = append(sides[side(n)], n.Server)
	}
	all := slices.Concat(sides[0], sides[1])
	for _, n := range c.nodes {
		others := sides[1-side(n)]
		if n.Bus != nil {
			n.Bus.Block(owners(others, n.Bus.Addr(), len(others) > 0))
		}
		switch {
		case n.Relay == nil:
		case n.clientsBlocked:
			peer := owners(all, n.Relay.Addr(), true)
			other := owners(others, n.Relay.Addr(), true)
			n.Relay.Block(func(client string) bool { return !peer(client) || other(client) })
		default:
			n.Relay.Block(owners(others, n.Relay.Addr(), len(others) > 0))
		}
	}
}

// owners returns a function that reports whether one of the servers owns the client's end of a
// connection to a relay. It returns nil if the function is not needed.
func owners(servers []*redistest.Server, relay string, needed bool) func(client string) bool {
	if !needed {
		return nil
	}
	return func(client string) bool { return redistest.Own(servers, client, relay) }
}

// Relocate changes the addresses of all nodes at once, and waits until the cluster is healthy. The old
// addresses refuse connections. It needs Config.Relays and Redis 7.0: before, a node reports its own
// old address until it restarts.
func (c *Cluster) Relocate() {
	c.t.Helper()
	nodes := c.Nodes()
	if !c.cfg.Relays || !nodes[0].Version().Since(7, 0) {
		c.t.Fatal("relocate a cluster: its addresses are fixed: set Relays, and use Redis 7.0 or later")
	}
	for _, n := range nodes {
		if err := n.Relay.Move(); err != nil {
			c.t.Fatalf("relocate %s: %v", n.Addr(), err)
		}
	}
	for _, n := range c.reachable() {
		n.Do("CONFIG", "SET", n.portOption("cluster-announce-port", "cluster-announce-tls-port"), port(n.Addr()))
	}
	wait(c.t, limit, "the nodes do not know the new addresses", func() error {
		v, err := c.agreement()
		for _, m := range v.members {
			if c.Node(m.addr) == nil {
				return fmt.Errorf("%s is an old address", m.addr)
			}
		}
		return err
	})
	c.waitHealthy()
}
