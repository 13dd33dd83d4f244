package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/engine"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/clustertest"
)

// parked waits until n blocking commands of a client wait without a connection each, and their keys are watched.
func parked(t *testing.T, client *respool.Client, n int) {
	t.Helper()
	testkit.Await(t, "the number of waits", func() respool.BlockingStats { return client.Stats().Blocking },
		func(s respool.BlockingStats) bool { return s.Waiting == n && s.Watching })
}

func TestManyWaitsNeedFewConnectionsToEachNode(t *testing.T) {
	c := clustertest.Start(t, clustertest.Config{Replicas: -1})
	watch := c.Watch()
	client := open(t, c, "max_connections=5")
	const n = 1000
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			if got, err := client.Do(t.Context(), "BLPOP", key(i), 60).Texts(); err != nil || len(got) != 2 || got[1] != key(i) {
				t.Errorf("BLPOP %s: %v, %v", key(i), got, err)
			}
		})
	}
	parked(t, client, n)
	for i := range n {
		c.OwnerOf(key(i)).Do("RPUSH", key(i), key(i))
	}
	wg.Wait()
	watch.Stop()
	for _, node := range c.Primaries() {
		if peak := watch.PeakOf(node); peak < 2 || peak > 5 {
			t.Errorf("%d connections to %s: want 2 to 5", peak, node.Addr())
		}
	}
	st := client.Stats().Blocking
	if got := st.Commands["BLPOP"]; got.Served != n || st.Waiting != 0 || st.Keys != 0 || st.Refusal != nil {
		t.Errorf("figures: %+v", st)
	}

	var cross *respool.CrossSlotError
	if err := client.Do(t.Context(), "BLPOP", "a", "b", 1).Err(); !errors.As(err, &cross) {
		t.Errorf("BLPOP over two slots: %v", err)
	}
	for i := range 30 {
		wg.Go(func() {
			began := time.Now()
			r := client.Do(t.Context(), "BLPOP", "{"+key(i)+"}a", "{"+key(i)+"}b", 0.5)
			if !r.IsNil() || time.Since(began) < 500*time.Millisecond {
				t.Errorf("BLPOP of empty lists: %v after %v", r, time.Since(began))
			}
		})
	}
	wg.Wait()
	testkit.Await(t, "the connections that watch keys", func() bool { return client.Stats().Blocking.Watching }, testkit.Is(false))
}

// queues are the keys of a test, each with consumers that block.
type queues struct {
	t        *testing.T
	client   *respool.Client
	ctx      context.Context // of the consumers
	mu       sync.Mutex
	received map[string]int
	failures atomic.Int32
}

func (q *queues) fail(format string, args ...any) {
	if q.failures.Add(1) < 10 {
		q.t.Errorf(format, args...)
	}
}

// kinds are the ways to consume a key. element returns the element in a reply.
var kinds = []struct {
	name    string
	take    func(key string, consumer int) []any
	push    func(key, element string) []any
	element func(r respool.Reply) (string, error)
}{
	{
		"BLPOP",
		func(key string, _ int) []any { return []any{"BLPOP", key, 1} },
		func(key, element string) []any { return []any{"RPUSH", key, element} },
		func(r respool.Reply) (string, error) { return last(r.Texts()) },
	},
	{
		"BZPOPMIN",
		func(key string, _ int) []any { return []any{"BZPOPMIN", key, 1} },
		func(key, element string) []any { return []any{"ZADD", key, 1, element} },
		func(r respool.Reply) (string, error) {
			values, err := r.Array()
			if err != nil || len(values) != 3 {
				return "", fmt.Errorf("%v, %w", values, err)
			}
			return values[1].Text()
		},
	},
	{
		"XREADGROUP",
		func(key string, consumer int) []any {
			return []any{"XREADGROUP", "GROUP", "g", consumer, "COUNT", 1, "BLOCK", 1000, "STREAMS", key, ">"}
		},
		func(key, element string) []any { return []any{"XADD", key, "*", "f", element} },
		func(r respool.Reply) (string, error) {
			streams, err := r.Map()
			for _, entries := range streams { // one stream with one entry: an ID and fields
				for range 2 {
					if list, failed := entries.Array(); failed == nil && len(list) > 0 {
						entries = list[len(list)-1]
					}
				}
				return last(entries.Texts())
			}
			return "", fmt.Errorf("%v, %w", r, err)
		},
	},
}

func last(texts []string, err error) (string, error) {
	if err != nil || len(texts) == 0 {
		return "", fmt.Errorf("%v, %w", texts, err)
	}
	return texts[len(texts)-1], nil
}

// consume takes elements of a key until the end of q.ctx, and then what is left.
func (q *queues) consume(key string, kind, consumer int) {
	for over := false; !over; {
		over = q.ctx.Err() != nil
		began := time.Now()
		r := q.client.Do(context.Background(), kinds[kind].take(key, consumer)...)
		if r.IsNil() {
			if passed := time.Since(began); passed < time.Second {
				q.fail("%s %s: a timeout after %v", kinds[kind].name, key, passed)
			}
			continue
		}
		over = false
		element, err := kinds[kind].element(r)
		if err != nil {
			q.fail("%s %s: %v", kinds[kind].name, key, err)
			continue
		}
		q.mu.Lock()
		q.received[element]++
		q.mu.Unlock()
	}
}

func TestEachElementArrivesOnceWhileSlotsMoveAndPrimariesFailOver(t *testing.T) {
	c := clustertest.Start(t, clustertest.Config{NodeTimeout: 15 * time.Second}) // no failover but those of the test
	for _, mode := range []respool.Blocking{respool.BlockingShared, respool.BlockingDedicated} {
		t.Run(mode.String(), func(t *testing.T) {
			const keys, consumers = 24, 3
			limit := 5
			if mode == respool.BlockingDedicated {
				limit = 2 * keys * consumers
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			q := &queues{t: t, ctx: ctx, received: map[string]int{}}
			q.client = open(t, c, fmt.Sprintf("max_connections=%d", limit), "blocking="+mode.String(), "timeout=10")
			producer := open(t, c, "timeout=10")
			var consuming, producing sync.WaitGroup
			pushed := make([]int, keys)
			var slots []int
			for i := range keys {
				// The keys lie in the first 300 slots, which move.
				slots = append(slots, i*12)
				k, kind := testkit.SlotKey(i*12, mode.String()), i%len(kinds)
				if kinds[kind].name == "XREADGROUP" {
					if err := producer.Do(ctx, "XGROUP", "CREATE", k, "g", "$", "MKSTREAM").Err(); err != nil {
						t.Fatal(err)
					}
				}
				for consumer := range consumers {
					consuming.Go(func() { q.consume(k, kind, consumer) })
				}
				producing.Go(func() {
					for ctx.Err() == nil {
						element := fmt.Sprintf("element:%04d:%04d", i, pushed[i])
						if err := producer.Do(context.Background(), kinds[kind].push(k, element)...).Err(); err != nil {
							q.fail("push to %s: %v", k, err)
							return
						}
						pushed[i]++
						select {
						case <-time.After(5 * time.Millisecond):
						case <-ctx.Done():
						}
					}
				})
			}
			from, to := c.Owner(0), c.Owner(clustertest.Slots-1)
			c.MoveSlots(from, to, slots...)
			to = c.Failover(to, "")
			c.MoveSlots(to, from, slots...)
			c.Failover(from, "")
			cancel()
			producing.Wait()
			consuming.Wait()
			total := 0
			for i := range keys {
				total += pushed[i]
				for n := range pushed[i] {
					element := fmt.Sprintf("element:%04d:%04d", i, n)
					if times := q.received[element]; times != 1 {
						q.fail("%s of %s was received %d times", element, kinds[i%len(kinds)].name, times)
					}
				}
			}
			if total < 10*keys || len(q.received) != total {
				t.Errorf("%d elements were pushed, %d received", total, len(q.received))
			}
			t.Log(total, "elements;", q.client.Stats())
		})
	}
}

// waiter begins waits of a client, and checks what they return.
type waiter struct {
	t      *testing.T
	client *respool.Client
	mode   respool.Blocking
	wg     sync.WaitGroup
}

// begin begins a wait for element, empty for a timeout, and returns when the command waits.
func (w *waiter) begin(element string, args ...any) {
	w.t.Helper()
	before := w.client.Stats()
	w.wg.Go(func() {
		r := w.client.Do(context.Background(), args...)
		if got, err := r.Texts(); err != nil && element != "" || element == "" && !r.IsNil() || element != "" && !slices.Contains(got, element) {
			w.t.Errorf("%v: %v: want %q", args, r, element)
		}
	})
	testkit.Await(w.t, "the waits", w.client.Stats, func(s respool.Stats) bool {
		if w.mode == respool.BlockingShared {
			return s.Blocking.Waiting > before.Blocking.Waiting && s.Blocking.Watching
		}
		return s.Dedicated > before.Dedicated
	})
}

// Only other clients use the slots, so no reply to a command tells this client that they move.
func TestWaitsFollowTheirSlots(t *testing.T) {
	c := clustertest.Start(t, clustertest.Config{})
	from, to, other := c.Owner(0), c.Owner(clustertest.Slots-1), open(t, c)
	for i, mode := range []respool.Blocking{respool.BlockingShared, respool.BlockingDedicated} {
		t.Run(mode.String(), func(t *testing.T) {
			w := &waiter{t: t, client: open(t, c, "max_connections=20", "blocking="+mode.String(), "timeout=10"), mode: mode}
			k := func(slot int) string { return testkit.SlotKey(slot, mode.String()) }
			slots := []int{100 + 10*i, 101 + 10*i, 102 + 10*i}

			for _, s := range slots {
				w.begin("x", "BLPOP", k(s), 60)
			}
			c.MoveSlots(from, to, slots...)
			for _, s := range slots {
				to.Do("RPUSH", k(s), "x")
			}
			w.wg.Wait()

			half := k(200 + i)
			m := c.BeginMove(200+i, to)
			w.begin("x", "BLPOP", half, 60)
			if err := other.Do(t.Context(), "RPUSH", half, "x").Err(); err != nil {
				t.Error(err)
			}
			w.wg.Wait()
			w.begin("y", "BZPOPMAX", half, 60)
			m.Finish()
			to.Do("ZADD", half, "1", "y")
			w.wg.Wait()
		})
	}
}

// A command that continues at another node has the rest of its timeout.
func TestTimeoutsCountFromTheCallWhileSlotsMove(t *testing.T) {
	c := clustertest.Start(t, clustertest.Config{})
	from, to := c.Owner(0), c.Owner(clustertest.Slots-1)
	const timeout = 3 * time.Second
	for _, mode := range []respool.Blocking{respool.BlockingShared, respool.BlockingDedicated} {
		t.Run(mode.String(), func(t *testing.T) {
			w := &waiter{t: t, client: open(t, c, "max_connections=20", "blocking="+mode.String(), "timeout=10"), mode: mode}
			const slots = 8
			ticker := time.NewTicker(timeout / (slots + 4))
			defer ticker.Stop()
			began := time.Now()
			for slot := range slots {
				w.begin("", "BLPOP", testkit.SlotKey(slot, "q"), timeout.Seconds())
			}
			for slot := range slots {
				<-ticker.C
				c.MoveSlots(from, to, slot)
			}
			from, to = to, from
			w.wg.Wait()
			if passed := time.Since(began); passed < timeout || passed > timeout*3/2 {
				t.Errorf("timeouts of %v ended after %v", timeout, passed)
			}
		})
	}
}

// The primary of some waits dies. They continue at its successor, and the others do not notice it.
func TestWaitsOutliveTheirPrimary(t *testing.T) {
	c := clustertest.Start(t, clustertest.Config{})
	w := &waiter{t: t, client: open(t, c, "max_connections=5", "timeout=2"), mode: respool.BlockingShared}
	dies := c.Owner(0)
	for i := range 50 {
		w.begin("x", "BLPOP", key(i), 60)
	}
	// A try in flight would end its wait: each wait has had its try after the key was watched.
	testkit.Await(t, "the tries", func() engine.BlockingStats { return w.client.Engine().Stats().Blocking }, func(s engine.BlockingStats) bool {
		return s.Waits.InFlight == 0 && s.Waits.Commands["BLPOP"].Spurious >= 50
	})
	dies.Kill()
	var left []string
	for i := range 50 {
		if testkit.KeySlot(key(i)) >= 5461 { // of the others
			c.OwnerOf(key(i)).Do("RPUSH", key(i), "x")
		} else {
			left = append(left, key(i))
		}
	}
	testkit.Await(t, "the waits", func() int { return w.client.Stats().Blocking.Waiting }, testkit.Is(len(left)))
	c.WaitOwner(t, 0, dies, 20*time.Second)
	c.WaitAgreed(t, 20*time.Second)
	for _, k := range left {
		c.OwnerOf(k).Do("RPUSH", k, "x")
	}
	w.wg.Wait()
	if st := w.client.Stats().Blocking; st.Commands["BLPOP"].Served != 50 || st.Commands["BLPOP"].Failed != 0 {
		t.Errorf("figures: %+v", st)
	}
}
