package cluster

import (
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/clustertest"
)

// A commanded failover of each shard in turn: single commands, pipelines and transactions over all shards count up by one
// and see no error.
func TestACommandedFailoverCausesNoError(t *testing.T) {
	c := clustertest.Start(t, clustertest.Config{})
	client := open(t, c)
	ctx := patient(t)
	load := callers(t, 30, func(caller int, call int64) error { return countUp(ctx, client, key(caller), caller%3, call) })
	load.progress(30)
	for _, primary := range c.Primaries() {
		c.Failover(primary, "")
		load.progress(30)
	}
	load.end()
}

// After kill -9 of a primary, callers of its shard wait for its successor. Only commands that had been sent may fail, and
// say so. Other shards see no error.
func TestAKilledPrimaryIsReplaced(t *testing.T) {
	c := clustertest.Start(t, clustertest.Config{})
	client := open(t, c, "timeout=20")
	ctx := patient(t)
	victim := c.Owner(0)
	var lost atomic.Int64
	load := callers(t, 24, func(caller int, call int64) error {
		k := fmt.Sprintf("{%s}%d", key(caller), call)
		dead := c.Node(victim.Addr())
		err := client.Do(ctx, "SET", k, call).Err()
		var ce *respool.ConnError
		if errors.As(err, &ce) && ce.Sent && ce.Addr == dead.Addr() {
			lost.Add(1)
			return nil
		}
		return err
	})
	load.progress(100)
	victim.Kill()
	next := c.WaitOwner(t, 0, victim, testkit.Patience)
	began := time.Now()
	if err := client.Do(ctx, "SET", keyOf(0), "x").Err(); err != nil {
		t.Errorf("the first write after %s took over: %v", next.Addr(), err)
	}
	t.Logf("the first write ended %v after the takeover; %d commands were lost", time.Since(began), lost.Load())
	load.progress(200)
	load.end()
	if n := lost.Load(); n > 24 {
		t.Errorf("%d commands were lost: want one of each caller at most", n)
	}
	victim.Restart()
	c.WaitHealthy(t, testkit.Patience)
	testkit.Within(t, 2*testkit.Patience, "the client knows that all is well", func() bool {
		st := client.Stats().Cluster
		return st.Err == nil && len(st.Primaries) == 3
	})
	testkit.Eventually(t, "nothing remains at the old primary", func() bool {
		for _, n := range client.Stats().Nodes {
			if n.Addr == victim.Addr() {
				return n.Sockets() == 0
			}
		}
		return true
	})
}

// Callers that wait for a connection are no sign that the cluster has changed: they cause no query.
func TestCallersThatWaitCauseNoQuery(t *testing.T) {
	c := clustertest.Start(t, clustertest.Config{Replicas: -1})
	client := open(t, c, "max_connections=2", "timeout=20")
	ctx := patient(t)
	before := c.Calls("cluster|slots")
	load := callers(t, 40, func(caller int, call int64) error {
		conn, err := client.Acquire(ctx, key(caller))
		if err != nil {
			return err
		}
		defer conn.Release()
		return incremented(conn.Do(ctx, "INCR", key(caller)), call)
	})
	load.progress(500)
	load.end()
	if n := c.Calls("cluster|slots") - before; n > 1 { // 1: the regular query may fall due
		t.Errorf("%d queries", n)
	}
}

// 1,000 callers meet moved slots: one query at a time, and at most one a second.
func TestManyRedirectsCauseFewQueries(t *testing.T) {
	c := clustertest.Start(t, clustertest.Config{Replicas: -1})
	client := open(t, c)
	ctx := patient(t)
	load := callers(t, 1000, func(caller int, call int64) error {
		<-time.After(50 * time.Millisecond) // so that the nodes have time to move slots
		return incremented(client.Do(ctx, "INCR", key(caller)), call)
	})
	load.progress(2000)
	before, began := c.Calls("cluster|slots"), time.Now()
	from, to := c.Owner(0), c.Owner(clustertest.Slots-1)
	var slots []int
	for i := range 1000 {
		if slot := slotOf(key(i)); c.Owner(slot) == from && len(slots) < 25 {
			slots = append(slots, slot)
		}
	}
	c.MoveSlots(from, to, slots...)
	load.progress(2000)
	load.end()
	queries, most := c.Calls("cluster|slots")-before, int(time.Since(began)/time.Second)+2
	if queries > most {
		t.Errorf("%d queries in %v: want one a second at most", queries, time.Since(began))
	}
	if moved := client.Stats().Cluster.Moved; moved < 10 {
		t.Errorf("only %d redirects", moved)
	}
}

// A primary that was stopped, replaced and continued answers with its old map for a moment. The client does not return to
// it.
func TestAPausedPrimaryDoesNotTurnTheMapBack(t *testing.T) {
	c := clustertest.Start(t, clustertest.Config{})
	client := open(t, c, "timeout=20", "socket_timeout=1", "stall_limit=2")
	ctx := patient(t)
	victim := c.Owner(0)
	victim.Pause()
	next := c.WaitOwner(t, 0, victim, testkit.Patience)
	testkit.Eventually(t, "a write succeeds at the successor", func() bool { // those sent to the old primary may fail
		return client.Do(ctx, "SET", keyOf(0), "new").Err() == nil
	})
	victim.Resume()
	for range 200 {
		if got, err := client.Do(ctx, "GET", keyOf(0)).Text(); err != nil || got != "new" {
			t.Fatalf("GET: %q, %v", got, err)
		}
	}
	c.WaitHealthy(t, testkit.Patience)
	if primaries := client.Stats().Cluster.Primaries; !contains(primaries, next.Addr()) || contains(primaries, victim.Addr()) {
		t.Errorf("primaries %v: want %s, not %s", primaries, next.Addr(), victim.Addr())
	}
}

// While no replica can take over, callers of the dead shard wait and then get an error that names the slots. The others
// go on, and no goroutine is left.
func TestADeadShardLeavesTheOthersAlone(t *testing.T) {
	c := clustertest.Start(t, clustertest.Config{Replicas: -1, Args: []string{"--cluster-require-full-coverage", "no"}})
	client := open(t, c, "timeout=0.5")
	ctx := patient(t)
	victim := c.Owner(0)
	healthy := keyAt(c, c.Owner(clustertest.Slots-1), 0)
	load := callers(t, 20, func(caller int, call int64) error {
		return client.Do(ctx, "INCR", healthy).Err()
	})
	load.progress(100)
	goroutines := runtime.NumGoroutine()
	victim.Kill()
	for range 20 {
		var ce *respool.ConnError
		err := client.Do(ctx, "SET", keyOf(0), 1).Err()
		if err == nil || !errors.As(err, &ce) {
			t.Fatalf("a command of the dead shard: %v", err)
		}
	}
	load.progress(100)
	if now := runtime.NumGoroutine(); now > goroutines+20 {
		t.Errorf("%d goroutines, %d before", now, goroutines)
	}
	load.end()
	victim.Restart()
	testkit.Eventually(t, "the shard is served again", func() bool {
		return client.Do(ctx, "SET", keyOf(0), 1).Err() == nil
	})
}

// keyOf returns a key of a slot.
func keyOf(slot int) string { return testkit.SlotKey(slot, "k") }

func contains(list []string, one string) bool {
	for _, s := range list {
		if s == one {
			return true
		}
	}
	return false
}
