package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// callsOnEach is the number of GETs that each node executed.
func callsOnEach(set *redistest.SentinelSet) map[*redistest.Server]int {
	n := map[*redistest.Server]int{}
	for _, s := range set.Nodes {
		if s.Running() {
			n[s] = calls(s, "get")
		}
	}
	return n
}

func TestReplicasAreReadInTurn(t *testing.T) {
	set := redistest.StartSentinels(t, redistest.SentinelConfig{})
	c := openClient(t, serviceOptions(t, set, "role=replica"))
	if err := c.Warm(bounded(t)); err != nil {
		t.Fatal(err)
	}
	awaitReplicas(t, c, 2)
	for range 200 {
		if err := c.Do(bounded(t), "GET", "k").Err(); err != nil {
			t.Fatal(err)
		}
	}
	primary := set.Primary()
	for s, n := range callsOnEach(set) {
		if s == primary && n > 0 || s != primary && n < 50 {
			t.Errorf("%s executed %d GETs; the primary is %s", s.Addr(), n, primary.Addr())
		}
	}
	wantServerError(t, c.Do(bounded(t), "SET", "k", "v").Err(), "READONLY")
}

// A replica ends, then the primary, under load. Readers get no error.
func TestReadersOfReplicasGetNoErrorInAFailover(t *testing.T) {
	set := redistest.StartSentinels(t, redistest.SentinelConfig{Replicas: 3})
	opt := serviceOptions(t, set, "role=replica")
	opt.WaitTimeout = failoverLimit
	c := openClient(t, opt)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	var read spell
	for range 100 {
		wg.Go(func() {
			for ctx.Err() == nil {
				if err := c.Do(ctx, "GET", "k").Err(); ctx.Err() == nil && err != nil {
					t.Errorf("a reader got %v", err)
					return
				}
				read.success()
				time.Sleep(rest)
			}
		})
	}
	goesOn := func() {
		n := read.count()
		testkit.Await(t, "1000 more reads", read.count, testkit.AtLeast(n+1001))
	}
	goesOn()
	set.Replicas()[0].Kill()
	goesOn()
	set.Primary().Kill()
	set.WaitPrimary(t, set.Primary(), failoverLimit)
	goesOn()
	testkit.AwaitWithin(t, failoverLimit, "the second epoch", c.Stats, func(s respool.Stats) bool { return s.Service.Epoch == 2 })
	goesOn()
}

func TestThePrimaryServesReadsWithoutAReplica(t *testing.T) {
	set := redistest.StartSentinels(t, redistest.SentinelConfig{Replicas: 1})
	opt := serviceOptions(t, set, "role=prefer-replica")
	opt.WaitTimeout = failoverLimit
	c := openClient(t, opt)
	if err := c.Warm(bounded(t)); err != nil {
		t.Fatal(err)
	}
	primary, replica := set.Primary(), set.Replicas()[0]
	gets := func(node *redistest.Server) func() int {
		return func() int {
			if err := c.Do(bounded(t), "GET", "k").Err(); err != nil {
				t.Fatal(err)
			}
			return calls(node, "get")
		}
	}
	testkit.Await(t, "the replica executes a GET", gets(replica), testkit.AtLeast(1))
	replica.Kill()
	testkit.Await(t, "the primary executes a GET", gets(primary), testkit.AtLeast(1))
	replica.Restart()
	before := calls(replica, "get")
	testkit.Await(t, "the restarted replica executes a GET", gets(replica), testkit.AtLeast(before+1))

	only := openClient(t, serviceOptions(t, set, "role=replica", "timeout=0.3"))
	testkit.Await(t, "a GET succeeds", func() error { return only.Do(bounded(t), "GET", "k").Err() }, succeeded)
	replica.Kill()
	err := testkit.Await(t, "no replica is found", func() error { return only.Do(bounded(t), "GET", "k").Err() },
		func(err error) bool { return errors.Is(err, respool.ErrNoPrimary) })
	wantWords(t, err, "find a replica of mymaster", "wait timeout of 300ms", set.AddrOf(replica))
}

// A stalled replica lags. The client leaves it out until it has caught up.
func TestLaggingReplicasAreLeftOut(t *testing.T) {
	set := redistest.StartSentinels(t, redistest.SentinelConfig{DownAfter: time.Minute})
	c := openClient(t, serviceOptions(t, set, "role=replica", "max_replica_lag=0.5"))
	if err := c.Warm(bounded(t)); err != nil {
		t.Fatal(err)
	}
	awaitReplicas(t, c, 2)
	primary, slow := set.Primary(), set.Replicas()[0]
	slow.Pause()
	testkit.Eventually(t, "the slow replica is left out", func() bool {
		primary.Do("SET", "k", "v")
		st := c.Stats().Service
		return len(st.Replicas) == 1 && st.Replicas[0] != set.AddrOf(slow)
	})
	for range 50 {
		wantText(t, c.Do(bounded(t), "GET", "k"), "v")
	}
	st := c.Stats().Service
	if len(st.Excluded) != 1 || st.Excluded[0].Addr != set.AddrOf(slow) || st.Excluded[0].Reason == "" {
		t.Errorf("left out: %+v", st.Excluded)
	}
	slow.Resume()
	awaitReplicas(t, c, 2)
}

// awaitReplicas waits until the client knows n replicas.
func awaitReplicas(t *testing.T, c *respool.Client, n int) {
	t.Helper()
	testkit.Await(t, fmt.Sprintf("%d replicas", n), c.Stats, func(s respool.Stats) bool { return len(s.Service.Replicas) == n })
}

func TestTheNearestReplicaIsRead(t *testing.T) {
	set := redistest.StartSentinels(t, redistest.SentinelConfig{})
	far := set.Replicas()[0]
	opt := serviceOptions(t, set, "role=replica", "replica_choice=nearest")
	opt.Dialer = delaying(t, set.AddrOf(far), 20*time.Millisecond)
	opt.LingerLimit = time.Second
	c := openClient(t, opt)
	if err := c.Warm(bounded(t)); err != nil {
		t.Fatal(err)
	}
	awaitReplicas(t, c, 2)
	// The client measures both within two seconds. Then it does not read from the far one.
	testkit.Eventually(t, "the far replica gets none of 100 reads", func() bool {
		before := calls(far, "get")
		for range 100 {
			c.Do(bounded(t), "GET", "k")
		}
		return calls(far, "get") == before
	})
	if text := c.String(); !strings.Contains(text, "mymaster") {
		t.Error(text)
	}
}
