package e2e_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// recorder keeps the events of a client.
type recorder struct {
	mu     sync.Mutex
	events []respool.Event
}

func (r *recorder) note(e respool.Event) {
	for range 100 {
		runtime.Gosched() // a listener may be slow
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

func (r *recorder) of(kind respool.EventKind) []respool.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	var found []respool.Event
	for _, e := range r.events {
		if e.Kind == kind {
			found = append(found, e)
		}
	}
	return found
}

func TestEventsArePaired(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	for range 5 {
		var r recorder
		c := newClient(t, s, func(o *respool.Options) { o.MaxConnections, o.OnEvent = 4, r.note })
		ctx := bounded(t)
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				conn, err := c.Acquire(ctx)
				if err != nil {
					t.Error(err)
					return
				}
				_ = conn.Do(ctx, "PING").Err()
				if i%10 == 0 {
					conn.Destroy()
				}
				conn.Release()
				_ = c.Do(ctx, "GET", "k").Err()
			})
		}
		wg.Wait()
		killAll(s)
		testkit.Await(t, "a PING succeeds", func() error { return c.Do(ctx, "PING").Err() }, succeeded)
		if err := c.Close(ctx); err != nil {
			t.Error(err)
		}
		// Close returns after all events are reported.
		st := c.Stats()
		dialed, closed := r.of(respool.EventDialed), r.of(respool.EventClosed)
		if len(dialed) != len(closed) || uint64(len(dialed)) != st.Dials || st.Dials != st.Closed {
			t.Errorf("%d events of dials and %d of closes; counted %d and %d", len(dialed), len(closed), st.Dials, st.Closed)
		}
		began, ended := r.of(respool.EventWaitBegan), r.of(respool.EventWaitEnded)
		if len(began) != len(ended) || uint64(len(began)) != st.Waits || len(began) == 0 {
			t.Errorf("%d waits began and %d ended; counted %d", len(began), len(ended), st.Waits)
		}
		released := r.of(respool.EventReleased)
		if len(released) == 0 {
			t.Error("nothing was released")
		}
		for _, e := range released {
			if e.Class != "dedicated" || e.Duration <= 0 || e.Addr != s.Addr() {
				t.Errorf("a release of what: %+v", e)
			}
		}
		if n := len(r.of(respool.EventLaneFailed)); uint64(n) != st.FailedLanes || n == 0 {
			t.Errorf("%d events of failed lanes, counted %d", n, st.FailedLanes)
		}
		for _, e := range closed {
			if e.Reason == "" || e.Duration <= 0 || e.Addr != s.Addr() {
				t.Errorf("a close without its reason: %+v", e)
			}
		}
		for _, e := range began {
			if e.Class != "lane" && e.Class != "dedicated" || e.Addr != s.Addr() {
				t.Errorf("a wait for what: %+v", e)
			}
		}
	}
}

func TestEventsOfFailures(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	var r recorder
	c := newClient(t, s, func(o *respool.Options) {
		o.MaxConnections, o.OnEvent, o.WaitTimeout = 1, r.note, 20*time.Millisecond
	})
	conn := acquire(t, c)
	if err := c.Do(bounded(t), "PING").Err(); !errors.Is(err, respool.ErrPoolExhausted) {
		t.Error(err)
	}
	inVain := func() []respool.Event {
		return slices.DeleteFunc(r.of(respool.EventWaitEnded), func(e respool.Event) bool { return e.Err == nil })
	}
	testkit.Await(t, "one wait ends in an error", inVain, func(found []respool.Event) bool { return len(found) == 1 })
	if e := inVain()[0]; e.Duration < 20*time.Millisecond || e.Class != "lane" {
		t.Errorf("a wait in vain: %+v", e)
	} else if !errors.Is(e.Err, respool.ErrPoolExhausted) {
		t.Errorf("the event's error is none of the package's: %v", e.Err)
	}
	s.Kill()
	conn.Release()
	testkit.Eventually(t, "a failed dial is reported", func() bool {
		_ = c.Do(bounded(t), "PING").Err()
		return len(r.of(respool.EventDialFailed)) > 0
	})
	e := r.of(respool.EventDialFailed)[0]
	wantConnError(t, e.Err, false)
	if n := len(r.of(respool.EventDialed)); n != 1 {
		t.Errorf("%d dials", n)
	}
}

func TestEventKindsHaveNames(t *testing.T) {
	seen := map[string]bool{}
	kinds := []respool.EventKind{
		respool.EventPrimaryFound, respool.EventWritesHeld, respool.EventPrimaryLost, respool.EventCredentialsRenewed,
		respool.EventRenewalFailed, respool.EventTLSFilesChanged, respool.EventTLSFilesRefused,
		respool.EventBlockingDedicated, respool.EventBlockingShared, respool.EventElementsLost,
	}
	for k := respool.EventDialed; k <= respool.EventReleased; k++ {
		kinds = append(kinds, k)
	}
	for _, k := range kinds {
		if seen[k.String()] || k.String() == "unknown event" {
			t.Errorf("kind %d is called %v", uint8(k), k)
		}
		seen[k.String()] = true
	}
	if k := respool.EventKind(99); k.String() != "unknown event" {
		t.Error(k)
	}
}

// A listener may use the client: the client holds no lock.
func TestListenerMayUseTheClient(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	var c *respool.Client
	var calls atomic.Int64
	ready := make(chan struct{})
	c = newClient(t, s, func(o *respool.Options) {
		o.OnEvent = func(respool.Event) {
			<-ready
			_ = c.Stats()
			calls.Add(1)
		}
	})
	close(ready)
	mustDo(t, c, "PING")
	acquire(t, c).Destroy()
	testkit.Await(t, "three events", calls.Load, testkit.AtLeast[int64](3))
}

func holdForLong(t *testing.T, c *respool.Client) *respool.Conn { return acquire(t, c) }

func TestLeakIsReportedOnce(t *testing.T) {
	const threshold = time.Second // far more than a short lease takes on a busy machine
	s := redistest.Start(t, redistest.Config{Args: oftenAwake})
	var r recorder
	c := newClient(t, s, func(o *respool.Options) {
		o.LeakThreshold, o.OnEvent, o.MaxConnections = threshold, r.note, 4
	})
	leaked := holdForLong(t, c)
	testkit.Eventually(t, "one suspected leak is reported", func() bool { return len(r.of(respool.EventLeakSuspected)) == 1 })
	// Short leases are no leaks, and the client does not report the first leak again.
	for range 30 {
		conn := acquire(t, c)
		_ = conn.Do(bounded(t), "BLPOP", "q", 0.01).Err()
		conn.Release()
	}
	found := r.of(respool.EventLeakSuspected)
	if len(found) != 1 || c.Stats().Leaks != 1 {
		t.Fatalf("%d leaks reported, %d counted: want 1", len(found), c.Stats().Leaks)
	}
	e := found[0]
	if e.Duration < threshold || !strings.Contains(e.Stack, "e2e_test.holdForLong") ||
		!strings.Contains(e.Stack, "TestLeakIsReportedOnce") || !strings.Contains(e.Stack, "events_test.go:") {
		t.Errorf("the leak: %+v", e)
	}
	if first, _, _ := strings.Cut(e.Stack, "\n"); !strings.Contains(first, "e2e_test.") {
		t.Errorf("the stack begins inside the package: %s", first)
	}
	leaked.Release()
	again := holdForLong(t, c)
	testkit.Await(t, "two leaks are counted", c.Stats, func(s respool.Stats) bool { return s.Leaks == 2 })
	again.Release()
}

func TestStatsCount(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	c := newClient(t, s, func(o *respool.Options) { o.MaxConnections, o.Lanes = 5, 1 })
	if st := c.Stats(); st.Addr != s.Addr() || st.MaxConnections != 5 || st.Sockets() != 0 {
		t.Errorf("at first: %v", st)
	}
	mustDo(t, c, "PING")
	conn := acquire(t, c)
	sub, err := c.Subscribe(bounded(t), "ch")
	if err != nil {
		t.Fatal(err)
	}
	acquire(t, c).Release()
	st := c.Stats()
	if st.Lanes != 1 || st.Dedicated != 1 || st.Subscribed != 1 || st.Idle != 1 || st.Sockets() != 4 || s.ClientCount() != 4 {
		t.Errorf("%v; the server counts %d", st, s.ClientCount())
	}
	want := s.Addr() + ": 4 of 5 sockets (1 lanes, 1 idle, 1 dedicated, 1 subscribed, 0 dialing, 0 closing), 0 callers waiting, 0 replies due"
	if st.String() != want {
		t.Errorf("%v: want %s", st, want)
	}
	if st.Waits < 4 || st.Waited <= 0 || st.LongestWait <= 0 || st.LongestWait > st.Waited || st.FailedWaits != 0 {
		t.Errorf("%d waits, together %v, the longest %v, %d in vain", st.Waits, st.Waited, st.LongestWait, st.FailedWaits)
	}
	s.Pause()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	_ = c.Do(ctx, "PING").Err()
	if st := c.Stats(); st.RepliesDue != 1 {
		t.Errorf("a reply is due: %v", st)
	}
	s.Resume()
	testkit.Await(t, "no reply is pending", c.Stats, func(s respool.Stats) bool { return s.RepliesDue == 0 })
	conn.Release()
	if err := sub.Close(); err != nil {
		t.Error(err)
	}
	testkit.Await(t, "no connection is subscribed", c.Stats, func(s respool.Stats) bool { return s.Subscribed == 0 })
}

func TestResizeUpAndDown(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	c := newClient(t, s, func(o *respool.Options) { o.MaxConnections, o.Lanes, o.WaitTimeout = 2, 2, patience })
	ctx := bounded(t)
	wantWords(t, c.Resize(0), "0 connections", "1 or more")
	watch := s.WatchClients()
	held := []*respool.Conn{acquire(t, c)}
	got := make(chan *respool.Conn)
	go func() {
		conn, err := c.Acquire(ctx)
		if err != nil {
			t.Error(err)
		}
		got <- conn
	}()
	testkit.Await(t, "one caller waits", c.Stats, func(s respool.Stats) bool { return s.Waiting == 1 })
	if err := c.Resize(8); err != nil {
		t.Fatal(err)
	}
	held = append(held, <-got) // the new connections go to the waiters
	for len(held) < 7 {
		held = append(held, acquire(t, c))
	}
	mustDo(t, c, "PING")
	if n := s.ClientCount(); n != 8 {
		t.Errorf("the server counts %d connections: want 8", n)
	}
	if err := c.Resize(3); err != nil {
		t.Fatal(err)
	}
	for _, conn := range held[2:] {
		wantText(t, conn.Do(ctx, "PING"), "PONG") // a leased connection still works
		conn.Release()
	}
	s.WaitClients(t, 3, patience)
	for _, conn := range held[:2] {
		conn.Release()
	}
	mustDo(t, c, "PING")
	// The server no longer counts the connections. The client knows when the server has closed its sides.
	testkit.Await(t, "three connections at most", c.Stats, func(s respool.Stats) bool { return s.MaxConnections == 3 && s.Sockets() <= 3 })
	if err := c.Resize(1); err != nil {
		t.Fatal(err)
	}
	s.WaitClients(t, 1, patience)
	mustDo(t, c, "PING")
	acquire(t, c).Release()
	mustDo(t, c, "PING")
	if peak := watch.Stop(); peak > 8 {
		t.Errorf("the server counted %d connections at peak", peak)
	}
}

// Under load each new limit holds after the leased connections are released.
func TestResizeUnderLoad(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	c := newClient(t, s, func(o *respool.Options) { o.MaxConnections, o.WaitTimeout = 10, patience })
	seed := seed(t)
	stop := make(chan struct{})
	var side sync.WaitGroup
	side.Go(func() {
		r := newRand(seed, 0)
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				if err := c.Resize(1 + r.IntN(10)); err != nil {
					t.Error(err)
				}
			}
		}
	})
	watch := s.WatchClients()
	load(t, 100, seed, min(*stressFor, 500*time.Millisecond), mixed(c))
	close(stop)
	side.Wait()
	if peak := watch.Stop(); peak > 10 {
		t.Errorf("the server counted %d connections at peak", peak)
	}
	if err := c.Resize(4); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "four connections at most", func() bool { return c.Stats().Sockets() <= 4 && s.ClientCount() <= 4 })
	checkFree(t, c, 4)
}
