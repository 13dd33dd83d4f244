package e2e_test

import (
	"context"
	"fmt"
	"runtime"
	"strconv"
	"sync"
	"testing"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// 10,000 callers wait on keys of their own, and 10,000 on one key. They need at most 5 connections. The one key serves
// them in order of arrival.
func TestManyCallersWaitOnFewConnections(t *testing.T) {
	const n, connections = 10_000, 5
	s := redistest.Start(t, redistest.Config{})
	c := newClient(t, s, func(o *respool.Options) { o.MaxConnections = connections })
	if err := c.Warm(bounded(t)); err != nil {
		t.Fatal(err)
	}
	watch := s.WatchClients()
	ctx := context.Background()
	var wg sync.WaitGroup
	memory := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	waiting := func(want int) {
		testkit.Await(t, "the number of waits", func() int { return c.Engine().Stats().Blocking.Waits.Waiting }, testkit.Is(want))
	}
	release := make(chan struct{})
	for range 2 * n { // so that the runtime has the descriptors of the goroutines, which it keeps
		wg.Go(func() { <-release })
	}
	close(release)
	wg.Wait()
	before := memory()
	for i := range n {
		key := "own" + strconv.Itoa(i)
		wg.Go(func() { wantPopped(t, c.Do(ctx, "BLPOP", key, 0), key, key) })
	}
	waiting(n)
	for i := range n {
		wg.Go(func() { wantPopped(t, c.Do(ctx, "BLPOP", "one", 0), "one", strconv.Itoa(i)) })
		for c.Engine().Stats().Blocking.Waits.Waiting != n+i+1 { // in order
			runtime.Gosched()
		}
	}
	parked(t, c, 2*n)
	t.Logf("%d bytes for each wait", (memory()-before)/(2*n))

	push := []string{"RPUSH", "one"}
	for i := range n {
		push = append(push, strconv.Itoa(i))
		if len(push) == 102 || i == n-1 {
			s.Do(push...)
			push = push[:2]
		}
	}
	for i := range n {
		key := "own" + strconv.Itoa(i)
		s.Do("RPUSH", key, key)
	}
	wg.Wait()
	if left := s.Do("DBSIZE"); left != "0" {
		t.Errorf("%s keys are left", left)
	}
	if peak := watch.Stop(); peak > connections {
		t.Errorf("the server counted %d connections: want %d at most", peak, connections)
	}
	if st := c.Stats().Blocking; st.Waiting != 0 || st.Commands["BLPOP"].Served != 2*n {
		t.Errorf("%s", fmt.Sprintf("%+v", st))
	}
}
