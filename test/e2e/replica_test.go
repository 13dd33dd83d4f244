package e2e_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// callsOnEach is how often each node executed GET.
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
	eventually(t, func() bool { return len(c.Stats().Service.Replicas) == 2 })
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

// One replica dies, then the primary, under load: readers see no error.
func TestReadersOfReplicasSeeNoFailover(t *testing.T) {
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
		eventually(t, func() bool { return read.count() > n+1000 })
	}
	goesOn()
	set.Replicas()[0].Kill()
	goesOn()
	set.Primary().Kill()
	set.WaitPrimary(t, set.Primary(), failoverLimit)
	goesOn()
	within(t, failoverLimit, func() bool { return c.Stats().Service.Epoch == 2 })
	goesOn()
}

func TestThePrimaryServesWhereNoReplicaCan(t *testing.T) {
	set := redistest.StartSentinels(t, redistest.SentinelConfig{Replicas: 1})
	opt := serviceOptions(t, set, "role=prefer-replica")
	opt.WaitTimeout = failoverLimit
	c := openClient(t, opt)
	if err := c.Warm(bounded(t)); err != nil {
		t.Fatal(err)
	}
	primary, replica := set.Primary(), set.Replicas()[0]
	get := func() {
		if err := c.Do(bounded(t), "GET", "k").Err(); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, func() bool { get(); return calls(replica, "get") > 0 })
	replica.Kill()
	eventually(t, func() bool { get(); return calls(primary, "get") > 0 })
	replica.Restart()
	before := calls(replica, "get")
	eventually(t, func() bool { get(); return calls(replica, "get") > before })

	only := openClient(t, serviceOptions(t, set, "role=replica", "timeout=0.3"))
	eventually(t, func() bool { return only.Do(bounded(t), "GET", "k").Err() == nil })
	replica.Kill()
	var err error
	eventually(t, func() bool { err = only.Do(bounded(t), "GET", "k").Err(); return errors.Is(err, respool.ErrNoPrimary) })
	wantWords(t, err, "find a replica of mymaster", "wait timeout of 300ms", set.AddrOf(replica))
}

// A replica that stands still lags, and is left out until it has caught up.
func TestLaggingReplicasAreLeftOut(t *testing.T) {
	set := redistest.StartSentinels(t, redistest.SentinelConfig{DownAfter: time.Minute})
	c := openClient(t, serviceOptions(t, set, "role=replica", "max_replica_lag=0.5"))
	if err := c.Warm(bounded(t)); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool { return len(c.Stats().Service.Replicas) == 2 })
	primary, slow := set.Primary(), set.Replicas()[0]
	slow.Pause()
	eventually(t, func() bool {
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
	eventually(t, func() bool { return len(c.Stats().Service.Replicas) == 2 })
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
	eventually(t, func() bool { return len(c.Stats().Service.Replicas) == 2 })
	// Both are measured within a second or two; from then on the far one is not read.
	eventually(t, func() bool {
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
