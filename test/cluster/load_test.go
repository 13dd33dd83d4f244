package cluster

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/clusterload"
	"github.com/seed-2b0d76a6/respool/internal/testkit/clustertest"
)

// The full size is -slots 4000 -callers 200 -timeout 60m.
var (
	slotsMoved    = flag.Int("slots", 200, "slots that TestReshardUnderEveryKindOfCaller moves, and moves back; 5000 at most")
	callersAtOnce = flag.Int("callers", 50, "callers of the tests of every kind of caller; 10 kinds share them")
)

// underLoad changes a cluster under callers of all kinds. They see no error, and each write takes effect once and in order. A
// message of a shard channel is missing only where a gap is reported. The sockets stay within both limits. It does nothing, and
// returns nil, on servers without shard channels.
func underLoad(t *testing.T, c *clustertest.Cluster, slots []int, change func(*clusterload.Load)) *respool.ClusterStats {
	t.Helper()
	const perNode, total = 6, 11
	client := open(t, c, fmt.Sprint("max_connections=", perNode), fmt.Sprint("max_connections_total=", total), "timeout=60")
	if !hasShardChannels(t, c, client) {
		return nil
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	watch := c.Watch()
	load, err := clusterload.Start(ctx, clusterload.Respool(client), clusterload.Config{Callers: *callersAtOnce, Slots: slots})
	if err != nil {
		t.Fatal(err)
	}
	change(load)
	report := load.Stop(ctx)
	watch.Stop()
	if !report.OK() {
		t.Error("the callers saw errors, or lost or doubled or reordered writes")
	}
	for _, n := range c.Nodes() {
		if peak := watch.PeakOf(n); peak > perNode {
			t.Errorf("%s counted %d connections: want %d at most", n.Addr(), peak, perNode)
		}
	}
	if peak := watch.Peak(); peak > total {
		t.Errorf("%d connections to all nodes: want %d at most\n%s", peak, total, watch.AtPeak())
	}
	st := client.Stats().Cluster
	t.Logf("%d MOVED, %d ASK, %d TRYAGAIN; at most %d connections\n%s", st.Moved, st.Asked, st.TryAgain, watch.Peak(), report)
	return st
}

// together is how many slots move at the same time.
const together = 10

func TestReshardUnderEveryKindOfCaller(t *testing.T) {
	c := clustertest.Start(t, clustertest.Config{Replicas: -1, NodeTimeout: 15 * time.Second})
	var slots []int
	for slot := range min(*slotsMoved, 5000) {
		slots = append(slots, slot)
	}
	st := underLoad(t, c, slots, func(load *clusterload.Load) {
		began, from, to := time.Now(), c.Owner(0), c.Owner(clustertest.Slots-1)
		for range 2 {
			moved := 0
			for group := range slices.Chunk(slots, together) {
				load.At(moved)
				c.MoveTogether(from, to, group...)
				if moved += len(group); moved == len(slots) || moved%1000 < together {
					t.Logf("%d slots moved, %d calls, %v", moved, load.Done(), time.Since(began).Round(time.Millisecond))
				}
			}
			from, to = to, from
		}
	})
	if st != nil && (st.Moved == 0 || st.Asked == 0) {
		t.Errorf("no slot moved under a caller: %+v", st)
	}
}

// Each primary in turn gives its slots to its replica.
func TestFailoversUnderEveryKindOfCaller(t *testing.T) {
	c := clustertest.Start(t, clustertest.Config{NodeTimeout: 15 * time.Second})
	var slots []int
	for i := range 60 {
		slots = append(slots, i*clustertest.Slots/60)
	}
	underLoad(t, c, slots, func(load *clusterload.Load) {
		for range *takeovers {
			for _, primary := range c.Primaries() {
				c.Failover(primary, "")
				want := load.Done() + int64(4**callersAtOnce)
				testkit.Eventually(t, "the callers go on", func() bool { return load.Done() > want })
			}
		}
	})
}
