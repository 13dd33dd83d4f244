//go:build unix

package clustertest

import (
	"fmt"
	"slices"
	"time"
)

// Failover promotes a replica of a primary with CLUSTER FAILOVER and returns the replica when the
// cluster is healthy again. mode is empty, FORCE or TAKEOVER. A dead primary needs one of the last two.
// The replica of a live primary first learns which slots that serves: it would take over without a slot
// that has just moved.
func (c *Cluster) Failover(primary *Node, mode string) *Node {
	c.t.Helper()
	replica := c.replicaOf(primary)
	if replica == nil {
		c.t.Fatalf("fail over %s: it has no running replica", primary.Addr())
	}
	if primary.Responsive() {
		wait(c.t, limit, "the replica does not know the slots", func() error { return replica.knowsSlotsOf(primary) })
	}
	wait(c.t, limit, "no failover", func() error { return replica.promote(mode) })
	c.waitHealthy()
	return replica
}

// failoverLimit is how long a replica tries to take over.
const failoverLimit = 5 * time.Second

// promote starts a failover to a replica and waits for its end.
func (n *Node) promote(mode string) error {
	if n.isPrimary() {
		return nil
	}
	args := []string{"FAILOVER"}
	if mode != "" {
		args = append(args, mode)
	}
	if _, err := n.try(args...); err != nil {
		return fmt.Errorf("%s: %w", n.Addr(), err)
	}
	for deadline := time.Now().Add(failoverLimit); !n.isPrimary(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			return fmt.Errorf("%s does not take over within %v", n.Addr(), failoverLimit)
		}
	}
	return nil
}

// isPrimary reports whether the node says that it is a primary.
func (n *Node) isPrimary() bool {
	v, err := n.view()
	return err == nil && v.self.is("master")
}

// replicaOf returns a replica of a primary, as the replica says itself, or nil.
func (c *Cluster) replicaOf(primary *Node) *Node {
	for _, n := range c.reachable() {
		if v, err := n.view(); err == nil && v.self.primary == primary.ID {
			return n
		}
	}
	return nil
}

// knowsSlotsOf returns why a replica does not know which slots its primary serves, or nil.
func (n *Node) knowsSlotsOf(primary *Node) error {
	own, err := primary.view()
	if err != nil {
		return err
	}
	seen, err := n.view()
	if err != nil {
		return err
	}
	for _, m := range seen.members {
		if m.id == primary.ID && !slices.Equal(m.slots, own.self.slots) {
			return fmt.Errorf("%s sees the slots %v of %s, which serves %v", n.Addr(), m.slots, primary.Addr(), own.self.slots)
		}
	}
	return nil
}
