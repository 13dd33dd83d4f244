package e2e_test

import (
	"context"
	"fmt"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/blocking"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// 10,000 callers wait on keys of their own, and 10,000 on one key. They need at most 5 connections. The one key serves
// them in order of arrival.
func TestManyCallersWaitOnFewConnections(t *testing.T) {
	const n, connections = 10_000, 5
	s := redistest.Start(t, redistest.Config{})
	var wg sync.WaitGroup
	release := make(chan struct{})
	t.Cleanup(func() { // after the client has closed
		select {
		case <-release:
			wg.Wait()
		default: // the test has failed before it
		}
	})
	c := newClient(t, s, func(o *respool.Options) { o.MaxConnections = connections })
	if err := c.Warm(bounded(t)); err != nil {
		t.Fatal(err)
	}
	watch := s.WatchClients()
	ctx := context.Background()
	memory := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC() // pools keep what one collection leaves
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	waiting := func(want int) {
		testkit.Await(t, "the number of waits", func() int { return c.Engine().Stats().Blocking.Waits.Waiting }, testkit.Is(want))
	}
	quiet := func() { // after the second try of each key, which follows when it is watched
		testkit.Await(t, "the tries", func() blocking.Stats { return c.Engine().Stats().Blocking.Waits },
			func(s blocking.Stats) bool { return s.InFlight == 0 && s.Commands["BLPOP"].Spurious >= n })
	}
	call := func(do func(args ...any) (r respool.Reply, waited bool), key, element string) {
		wg.Go(func() {
			if r, waited := do("BLPOP", key, 0); waited {
				wantPopped(t, r, key, element)
			}
		})
	}
	own := func(i int) string { return "own" + strconv.Itoa(i) }
	var callers atomic.Int64
	for i := range 2 * n { // callers without a wait, whose goroutines and arguments cost memory too
		call(func(args ...any) (r respool.Reply, waited bool) {
			callers.Add(1)
			<-release
			runtime.KeepAlive(args)
			return r, false
		}, own(i), own(i))
	}
	testkit.Await(t, "the number of callers", callers.Load, testkit.Is[int64](2*n))
	before := memory()
	close(release)
	wg.Wait()
	do := func(args ...any) (r respool.Reply, waited bool) { return c.Do(ctx, args...), true }
	cheap := func(waits int, what string) {
		t.Helper()
		each := (int64(memory()) - int64(before)) / int64(waits)
		if t.Logf("%d bytes for each wait on %s", each, what); each >= 1024 {
			t.Error("want less than 1,024")
		}
	}
	for i := range n {
		call(do, own(i), own(i))
	}
	waiting(n)
	quiet()
	cheap(n, "a key of its own")
	for i := range n {
		call(do, "one", strconv.Itoa(i))
		testkit.Promptly(t, "the callers wait in order", func() bool { return c.Engine().Stats().Blocking.Waits.Waiting == n+i+1 })
	}
	quiet()
	cheap(2*n, "either")

	push := []string{"RPUSH", "one"}
	for i := range n {
		push = append(push, strconv.Itoa(i))
		if len(push) == 102 || i == n-1 {
			s.Do(push...)
			push = push[:2]
		}
	}
	for i := range n {
		s.Do("RPUSH", own(i), own(i))
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
