//go:build unix

package clustertest

import (
	"fmt"
	"time"
)

// Failover promotes a replica of a primary with CLUSTER FAILOVER and returns the replica when the
// cluster is healthy again. mode is empty, FORCE or TAKEOVER. A dead primary needs one of the last two.
func (c *Cluster) Failover(primary *Node, mode string) *Node {
	c.t.Helper()
	replica := c.replicaOf(primary)
	if replica == nil {
		c.t.Fatalf("fail over %s: it has no running replica", primary.Addr())
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
