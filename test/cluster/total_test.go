package cluster

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/testkit/clustertest"
)

// TestMaxConnectionsTotalHolds uses all kinds of connections while slots move and a primary is replaced. The nodes count
// at most the total together, and every caller is served.
func TestMaxConnectionsTotalHolds(t *testing.T) {
	const total, perNode, callers = 5, 8, 200
	c := clustertest.Start(t, clustertest.Config{})
	watch := c.Watch()
	client := open(t, c, fmt.Sprint("max_connections=", perNode), fmt.Sprint("max_connections_total=", total), "timeout=60")
	if got := client.Stats().Cluster.MaxConnectionsTotal; got != total {
		t.Errorf("Stats report a total of %d: want %d", got, total)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var failures atomic.Int32
	var served [4]atomic.Int64
	for i := range callers {
		wg.Go(func() {
			kind, k := i%len(served), key(i)
			for n := 1; ctx.Err() == nil; n++ {
				if err := useTotal(client, kind, k, n); err != nil && failures.Add(1) < 10 {
					t.Errorf("%s: %v", k, err)
				}
				served[kind].Add(1)
			}
		})
	}
	from, to := c.Owner(0), c.Owner(clustertest.Slots-1)
	var slots []int
	for s := range 15 {
		slots = append(slots, s)
	}
	c.MoveSlots(from, to, slots...)
	c.Failover(to, "")
	c.MoveSlots(c.Owner(0), from, slots...)
	cancel()
	wg.Wait()
	if peak := watch.Stop(); peak > total {
		t.Errorf("%d connections at peak: want %d at most\n%s", peak, total, watch.AtPeak())
	}
	for _, n := range c.Nodes() {
		if peak := watch.PeakOf(n); peak > perNode {
			t.Errorf("%d connections of %s at peak: want %d at most", peak, n.Addr(), perNode)
		}
	}
	for kind := range served {
		if served[kind].Load() == 0 {
			t.Errorf("no caller of kind %d was served", kind)
		}
	}
	st := client.Stats()
	t.Logf("%d connections at peak; commands %d, leases %d, blocking %d, pipelines %d; %d dials, longest wait %v",
		watch.Peak(), served[0].Load(), served[1].Load(), served[2].Load(), served[3].Load(), st.Dials, st.LongestWait)
}

// useTotal uses a connection in one of four ways, for the nth time.
func useTotal(client *respool.Client, kind int, k string, n int) error {
	ctx := context.Background()
	switch kind {
	case 0:
		got, err := client.Do(ctx, "INCR", k).Int64()
		if err == nil && got != int64(n) {
			err = fmt.Errorf("INCR returns %d: want %d", got, n)
		}
		return err
	case 1:
		conn, err := client.Acquire(ctx, k)
		if err == nil {
			_ = conn.Do(ctx, "PING").Err() // fails if its node leaves
			conn.Release()
		}
		return err
	case 2:
		if err := client.Do(ctx, "RPUSH", k, n).Err(); err != nil {
			return err
		}
		return client.Do(ctx, "BLPOP", k, 30).Err()
	}
	pipe := client.Pipeline()
	for i := range 20 {
		pipe.Do("INCR", fmt.Sprint(k, ":", i))
	}
	replies, err := pipe.Exec(ctx)
	for _, r := range replies {
		if got, e := r.Int64(); err == nil && (e != nil || got != int64(n)) {
			err = fmt.Errorf("INCR in a pipeline returns %d, %v: want %d", got, e, n)
		}
	}
	return err
}

func TestATotalBelowOnePerPrimary(t *testing.T) {
	c := clustertest.Start(t, clustertest.Config{Replicas: -1})
	client, err := respool.Open(t.Context(), c.URL("max_connections_total=2"))
	if err == nil {
		client.Close(t.Context())
		t.Fatal("Open succeeds with a total of 2 for 3 primaries")
	}
	for _, want := range []string{"3 primaries", "respool: open", "max_connections_total is 2", "set it to 3 or more"} {
		if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v: want one line with %q", err, want)
		}
	}

	// A client that is not warmed up works: the nodes take turns.
	opt, err := respool.ParseURL(c.URL("max_connections_total=2", "timeout=60"))
	if err != nil {
		t.Fatal(err)
	}
	var reported atomic.Int32
	opt.OnEvent = func(e respool.Event) {
		if e.Kind == respool.EventTotalTooLow {
			reported.Add(1)
		}
	}
	if client, err = respool.New(opt); err != nil {
		t.Fatal(err)
	}
	defer client.Close(context.Background())
	watch := c.Watch()
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			for n := 1; n <= 20; n++ {
				if err := useTotal(client, i%4, key(i), n); err != nil {
					t.Errorf("%s: %v", key(i), err)
				}
			}
		})
	}
	wg.Wait()
	if peak := watch.Stop(); peak > 2 {
		t.Errorf("%d connections at peak: want 2 at most\n%s", peak, watch.AtPeak())
	}
	if n := reported.Load(); n != 1 {
		t.Errorf("%d events %v: want 1", n, respool.EventTotalTooLow)
	}
	t.Log(client.Stats())
}
