//go:build unix

package clustertest

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/seed-2b0d76a6/respool/internal/testkit"
)

// create starts the nodes and makes them a cluster, node by node. This is faster than
// redis-cli --cluster create.
func (c *Cluster) create() {
	c.t.Helper()
	primaries, nodes := c.cfg.Primaries, []*Node(nil)
	for range primaries * (1 + max(0, c.cfg.Replicas)) {
		nodes = append(nodes, c.startNode())
	}
	for i, n := range nodes {
		n.cluster("SET-CONFIG-EPOCH", strconv.Itoa(i+1))
	}
	for i, n := range nodes[:primaries] {
		n.assign(i*Slots/primaries, (i+1)*Slots/primaries-1)
	}
	c.join(nodes)
	for i, n := range nodes[primaries:] {
		n.cluster("REPLICATE", nodes[i%primaries].ID)
	}
	c.waitHealthy()
}

// assign gives slots to a node that is alone.
func (n *Node) assign(first, last int) {
	n.c.t.Helper()
	if n.Version().Since(7, 0) {
		n.cluster("ADDSLOTSRANGE", strconv.Itoa(first), strconv.Itoa(last))
		return
	}
	args := []string{"ADDSLOTS"}
	for slot := first; slot <= last; slot++ {
		args = append(args, strconv.Itoa(slot))
	}
	n.cluster(args...)
}

// join makes nodes members. It introduces each to all others, since the nodes tell each other slowly.
func (c *Cluster) join(nodes []*Node) {
	c.t.Helper()
	for _, n := range nodes {
		for _, other := range c.reachable() {
			n.meet(other)
		}
		c.mu.Lock()
		c.nodes = append(c.nodes, n)
		for _, w := range c.watches {
			w.add(n)
		}
		c.mu.Unlock()
	}
	wait(c.t, limit, "the nodes do not know each other", func() error {
		members := c.reachable()
		var problem error
		for _, n := range members {
			problem = errors.Join(problem, n.knows(members))
		}
		return problem
	})
}

// knows returns nil if the node knows all members. If a handshake has ended without success, as on a
// busy machine, it starts another.
func (n *Node) knows(members []*Node) error {
	text, err := n.try("NODES")
	switch {
	case err != nil:
		return err
	case strings.Contains(text, "handshake"):
		return fmt.Errorf("%s shakes hands", n.Addr())
	}
	for _, m := range members {
		if !strings.Contains(text, m.ID) {
			n.meet(m)
			return fmt.Errorf("%s does not know %s", n.Addr(), m.Addr())
		}
	}
	return nil
}

func (n *Node) meet(other *Node) {
	n.c.t.Helper()
	host, clients, _ := net.SplitHostPort(other.Addr())
	n.cluster("MEET", host, clients, port(other.busAddr(other.Server)))
}

// AddPrimary adds a primary without slots and returns it when all nodes agree.
func (c *Cluster) AddPrimary() *Node {
	c.t.Helper()
	n := c.startNode()
	c.join([]*Node{n})
	c.waitHealthy()
	return n
}

// AddReplica adds a replica of a primary and returns it when all nodes agree.
func (c *Cluster) AddReplica(of *Node) *Node {
	c.t.Helper()
	n := c.startNode()
	c.join([]*Node{n})
	n.cluster("REPLICATE", of.ID)
	c.waitHealthy()
	return n
}

// Remove makes all other nodes forget a node, and the node forget them. The process continues to run:
// as a primary without slots, and without the data of a replica. A primary must own no slot and have
// no replica.
func (c *Cluster) Remove(n *Node) {
	c.t.Helper()
	if err := c.removable(n); err != nil {
		c.t.Fatalf("remove %s: %v", n.Addr(), err)
	}
	c.mu.Lock()
	c.nodes = slices.DeleteFunc(c.nodes, func(m *Node) bool { return m == n })
	c.mu.Unlock()
	testkit.Within(c.t, limit, "all nodes forget a node", func() bool {
		known := false
		for _, m := range c.reachable() {
			if text, err := m.try("NODES"); err != nil || strings.Contains(text, n.ID) {
				known = true
				_, _ = m.try("FORGET", n.ID) // since 7.2, nodes tell each other what to forget
			}
		}
		return !known
	})
	if n.Responsive() {
		n.cluster("RESET", "SOFT")
	}
	c.waitHealthy()
}

func (c *Cluster) removable(n *Node) error {
	v := c.agreedView()
	for _, m := range v.members {
		switch {
		case m.id == n.ID && len(m.slots) > 0:
			return errors.New("it owns slots: move them first")
		case m.primary == n.ID:
			return fmt.Errorf("%s replicates it: remove the replica first", m.addr)
		}
	}
	return nil
}
