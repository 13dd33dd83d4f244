package cluster

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/clustertest"
	"github.com/seed-2b0d76a6/respool/monitor"
)

// watchCluster runs a sampler of a cluster until the test ends.
func watchCluster(t *testing.T, url string) *monitor.Sampler {
	t.Helper()
	opt, err := respool.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	sampler, err := monitor.NewSampler(monitor.SamplerConfig{Options: opt, Every: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- sampler.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return sampler
}

// A sampler watches each node of a cluster, primaries and replicas, with one connection each.
func TestASamplerWatchesTheNodesOfACluster(t *testing.T) {
	c := clustertest.Start(t, clustertest.Config{})
	sampler := watchCluster(t, c.URL())
	roles := map[string]string{}
	for _, n := range c.Primaries() {
		roles[n.Addr()] = "primary"
	}
	for _, n := range c.Replicas() {
		roles[n.Addr()] = "replica"
	}
	st := testkit.Await(t, "each node is watched", sampler.State, func(st *monitor.State) bool {
		for _, n := range st.Nodes {
			if !n.Up || n.Role != roles[n.Addr] || n.Last == nil || n.Last.MaxClients == 0 {
				return false
			}
		}
		return len(st.Nodes) == 6 && st.Cluster.Known()
	})
	if !strings.HasPrefix(st.Service, "cluster of ") || st.Err != nil || len(st.Unreachable()) != 0 {
		t.Errorf("%+v", st)
	}
	if n, _ := st.Cluster.Uncovered(); n != 0 || len(st.Cluster.Primaries()) != 3 || len(st.Cluster.WithoutReplica()) != 0 || !st.Cluster.OK {
		t.Errorf("%+v", st.Cluster)
	}
	for _, n := range c.Nodes() {
		if own := strings.Count(n.Do("CLIENT", "LIST"), "name="+sampler.Own()+" "); own != 1 {
			t.Errorf("%s counts %d connections of the sampler: want 1", n.Addr(), own)
		}
	}
}

// After a failover, a dead shard and a change of all addresses, the sampler shows the cluster as it is.
func TestASamplerFollowsACluster(t *testing.T) {
	c := clustertest.Start(t, clustertest.Config{})
	sampler := watchCluster(t, c.URL())
	primary := c.Primaries()[0]
	replica := c.ReplicasOf(primary)[0]
	is := func(n *clustertest.Node, role string) func(st *monitor.State) bool {
		return func(st *monitor.State) bool {
			s := st.Node(n.Addr())
			return s != nil && s.Up && s.Role == role && st.Cluster.Node(n.Addr()) != nil && (st.Cluster.Node(n.Addr()).Slots > 0) == (role == "primary")
		}
	}
	testkit.Await(t, "the primary", sampler.State, is(primary, "primary"))
	c.Failover(primary, "")
	testkit.Await(t, "the new primary", sampler.State, func(st *monitor.State) bool { return is(replica, "primary")(st) && is(primary, "replica")(st) })

	primary.Kill()
	testkit.Await(t, "a primary without a replica", sampler.State, func(st *monitor.State) bool {
		return st.Cluster.Known() && slices.Equal(st.Cluster.WithoutReplica(), []string{replica.Addr()}) && slices.Equal(st.Unreachable(), []string{primary.Addr()})
	})
	replica.Kill()
	testkit.Await(t, "uncovered slots", sampler.State, func(st *monitor.State) bool {
		if !st.Cluster.Known() || len(st.Unreachable()) != 2 {
			return false
		}
		n, text := st.Cluster.Uncovered()
		return n == 5461 && text == "0-5460" && !st.Cluster.OK
	})

	// While no node answers, nothing is known about the cluster, and the state says why.
	for _, n := range c.Nodes() {
		if n.Running() {
			n.Kill()
		}
	}
	testkit.Await(t, "an unknown cluster", sampler.State, func(st *monitor.State) bool {
		return !st.Cluster.Known() && st.Err != nil && len(st.Unreachable()) == 6
	})
}

// A probe would show one node, or a mixture: it refuses a cluster.
func TestAProbeRefusesACluster(t *testing.T) {
	opt, err := respool.ParseURL("redis+cluster://h1:6379")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := monitor.NewProbe(monitor.ProbeConfig{Options: opt}); err == nil || !strings.Contains(err.Error(), "one node of the cluster") {
		t.Errorf("%v", err)
	}
}
