package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/faultnet"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// Waiters get connections in their order of arrival.
func TestWaitersAreServedInOrder(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	c := newClient(t, s, func(o *respool.Options) { o.MaxConnections = 2 })
	ctx := context.Background()
	held, err := c.Acquire(ctx)
	if err != nil {
		t.Fatal(err)
	}
	const n = 100
	order := make(chan int, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			conn, err := c.Acquire(ctx)
			if err != nil {
				t.Error(err)
				return
			}
			order <- i
			conn.Release()
		})
		for c.Stats().Waiting != i+1 {
			time.Sleep(10 * time.Microsecond)
		}
	}
	held.Release()
	wg.Wait()
	close(order)
	next := 0
	for i := range order {
		if i != next {
			t.Fatalf("waiter %d was served: want waiter %d", i, next)
		}
		next++
	}
	if next != n {
		t.Errorf("%d of %d were served", next, n)
	}
}

// 200 callers with equal work share 10 dedicated connections. None starves.
func TestWaitsForDedicatedConnectionsAreEven(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	c := newClient(t, s, func(o *respool.Options) {
		o.MaxConnections = 11
		o.WaitTimeout = time.Minute
	})
	var mu sync.Mutex
	var waits []time.Duration
	var wg sync.WaitGroup
	stop := time.Now().Add(*stressFor)
	counts := make([]int, 200)
	for i := range counts {
		wg.Go(func() {
			ctx := context.Background()
			for time.Now().Before(stop) {
				began := time.Now()
				conn, err := c.Acquire(ctx)
				if err != nil {
					t.Error(err)
					return
				}
				waited := time.Since(began)
				for range 3 {
					if err := conn.Do(ctx, "PING").Err(); err != nil {
						t.Error(err)
					}
				}
				conn.Release()
				counts[i]++
				mu.Lock()
				waits = append(waits, waited)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	// The first round dials the connections, so it does not count.
	waits = waits[min(len(waits)-1, 400):]
	slices.Sort(waits)
	median, longest := waits[len(waits)/2], waits[len(waits)-1]
	t.Logf("%d waits: median %v, longest %v (%.1f times); turns a caller: %d to %d", len(waits), median, longest,
		float64(longest)/float64(median), slices.Min(counts), slices.Max(counts))
	// In FIFO order each caller gets the same number of turns. On a loaded machine a caller may miss some between two waits. If
	// waiters overtake, some get none.
	share := 2
	if *strict {
		share = 10
	}
	if most, least := slices.Max(counts), slices.Min(counts); most-least > 2+most/share {
		t.Errorf("one caller had %d turns, another %d", most, least)
	}
	if *strict && longest > 5*median {
		t.Errorf("longest wait %v, median %v", longest, median)
	}
}

// place is a point at which a caller can wait.
type place struct {
	name string
	do   func(t *testing.T) func(ctx context.Context) error
}

// stuck leases the only dedicated connection, so that the next caller waits for admission.
func stuckAdmission(t *testing.T) func(ctx context.Context) error {
	s := redistest.Start(t, redistest.Config{})
	c := newClient(t, s, func(o *respool.Options) { o.MaxConnections = 2 })
	held, err := c.Acquire(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(held.Release)
	return func(ctx context.Context) error {
		conn, err := c.Acquire(ctx)
		if err == nil {
			conn.Release()
		}
		return err
	}
}

func stuckDial(t *testing.T) func(ctx context.Context) error {
	s := redistest.Start(t, redistest.Config{})
	relay := faultnet.Start(t, s.Addr())
	relay.Blackhole(true)
	c := viaRelay(t, s, relay, func(o *respool.Options) { o.ConnectTimeout = time.Minute })
	t.Cleanup(relay.CutAll)
	return func(ctx context.Context) error { return c.Do(ctx, "PING").Err() }
}

func stuckWindow(t *testing.T) func(ctx context.Context) error {
	s := redistest.Start(t, redistest.Config{})
	relay := faultnet.Start(t, s.Addr())
	c := viaRelay(t, s, relay, func(o *respool.Options) {
		o.WindowCommands, o.Lanes, o.SocketTimeout, o.StallLimit = 1, 1, time.Minute, time.Minute
	})
	if err := c.Warm(context.Background()); err != nil {
		t.Fatal(err)
	}
	relay.Stall()
	var wg sync.WaitGroup
	wg.Go(func() { _ = c.Do(context.Background(), "PING").Err() })
	testkit.Await(t, "a pending reply", c.Stats, func(s respool.Stats) bool { return s.RepliesDue > 0 })
	t.Cleanup(func() { relay.Resume(); wg.Wait() })
	return func(ctx context.Context) error { return c.Do(ctx, "PING").Err() }
}

func stuckReply(t *testing.T) func(ctx context.Context) error {
	s := redistest.Start(t, redistest.Config{})
	c := newClient(t, s, nil)
	if err := c.Warm(context.Background()); err != nil {
		t.Fatal(err)
	}
	s.Pause()
	t.Cleanup(s.Resume)
	return func(ctx context.Context) error { return c.Do(ctx, "PING").Err() }
}

func stuckSubscription(t *testing.T) func(ctx context.Context) error {
	s := redistest.Start(t, redistest.Config{})
	c := newClient(t, s, nil)
	sub, err := c.Subscribe(context.Background(), "quiet")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sub.Close() })
	return func(ctx context.Context) error {
		_, err := sub.Receive(ctx)
		return err
	}
}

// The end of a ctx ends every kind of wait.
func TestContextEndsEveryWait(t *testing.T) {
	const limit = 100 * time.Millisecond
	for _, p := range []place{
		{"admission", stuckAdmission}, {"dial", stuckDial}, {"window", stuckWindow},
		{"reply", stuckReply}, {"subscription", stuckSubscription},
	} {
		t.Run(p.name, func(t *testing.T) {
			do := p.do(t)
			const n = 100
			late := make([]time.Duration, n)
			var wg sync.WaitGroup
			for i := range n {
				if i%10 == 0 {
					wg.Wait() // ten at a time
				}
				wg.Go(func() {
					began := time.Now()
					ctx, cancel := context.WithTimeout(context.Background(), limit)
					defer cancel()
					err := do(ctx)
					late[i] = time.Since(began)
					if !errors.Is(err, context.DeadlineExceeded) {
						t.Errorf("want the end of the ctx, got %v", err)
					}
				})
			}
			wg.Wait()
			slices.Sort(late)
			summary := fmt.Sprintf("a ctx of %v returned within %v to %v, 99 of 100 within %v", limit, late[0], late[n-1], late[n-2])
			t.Log(summary)
			if late[0] < limit {
				t.Errorf("too early: %s", summary)
			}
			// The socket, connect and wait timeouts are seconds later.
			if late[n-1] > 4*time.Second || *strict && late[n-2] > 130*time.Millisecond {
				t.Errorf("too late: %s", summary)
			}
		})
	}
}
