package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/gateway"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/clustertest"
)

const (
	setEvent  = "__keyevent@0__:set"
	allEvents = "__key*__:*"
)

// startNotifying starts a cluster whose nodes publish notifications of SET.
func startNotifying(t *testing.T, cfg clustertest.Config) *clustertest.Cluster {
	c := clustertest.Start(t, cfg)
	notify(c.Nodes()...)
	return c
}

func notify(nodes ...*clustertest.Node) {
	for _, n := range nodes {
		n.Do("CONFIG", "SET", "notify-keyspace-events", "E$")
	}
}

// untilSet sets keys of a slot until a notification of one arrives.
func (r *receiver) untilSet(client *respool.Client, slot int) {
	r.t.Helper()
	r.untilPayload(func(text string) string {
		key := testkit.SlotKey(slot, text)
		if err := client.Do(r.t.Context(), "SET", key, "v").Err(); err != nil {
			r.t.Fatal(err)
		}
		return key
	})
}

// slotsOfAll are slots of all primaries. Slot 0 moves to a new one.
var slotsOfAll = []int{0, 4, clustertest.Slots / 2, clustertest.Slots - 1}

func TestASubscriptionReceivesTheNotificationsOfAllPrimariesOnce(t *testing.T) {
	c := startNotifying(t, clustertest.Config{})
	client := open(t, c)
	var subs []*receiver
	for _, name := range []string{allEvents, "*", "__keyevent@0__:s[e]t"} {
		sub, err := client.PSubscribe(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		subs = append(subs, receive(t, sub))
	}
	sub, err := client.Subscribe(t.Context(), setEvent, "news", "end")
	if err != nil {
		t.Fatal(err)
	}
	subs = append(subs, receive(t, sub))
	const n = 100
	for i := range n {
		for _, args := range [][]any{{"SET", key(i), "v"}, {"PUBLISH", "news", i}} {
			if err := client.Do(t.Context(), args...).Err(); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i, r := range subs {
		keys, news := map[string]int{}, map[string]int{}
		wantNews := n
		if sub := r.sub; sub != subs[1].sub && sub != subs[3].sub {
			wantNews = 0
		}
		for len(keys) < n || len(news) < wantNews {
			switch m := r.message(); {
			case m.Gap != nil:
				t.Fatalf("subscription %d: a gap without a loss", i)
			case m.Channel == setEvent:
				keys[m.Payload]++
			case m.Channel == "news":
				news[m.Payload]++
			}
		}
		for _, counts := range []map[string]int{keys, news} {
			for text, count := range counts {
				if count != 1 {
					t.Errorf("subscription %d received %s %d times", i, text, count)
				}
			}
		}
	}
}

// A key that is set meanwhile is notified once, or not at all if a gap was reported: a replica publishes the
// notifications of its primary too, so a subscription at a demoted primary would receive them twice.
func TestNotificationsFollowThePrimaries(t *testing.T) {
	c := startNotifying(t, clustertest.Config{})
	const limit = 4
	client := open(t, c, fmt.Sprint("max_connections=", limit))
	watch := c.Watch()
	sub, err := client.PSubscribe(t.Context(), allEvents)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	seen := map[string]int{}
	r := receive(t, sub)
	forward := make(chan respool.Message, 1<<16)
	in := r.next
	r.next = forward
	forwarded := make(chan struct{})
	go func() {
		defer close(forwarded)
		for {
			select {
			case m := <-in:
				if m.Gap == nil {
					mu.Lock()
					seen[m.Payload]++
					mu.Unlock()
				}
				forward <- m
			case <-t.Context().Done():
				return
			}
		}
	}()
	t.Cleanup(func() { <-forwarded })
	writers := callers(t, 4, func(caller int, call int64) error {
		err := client.Do(t.Context(), "SET", fmt.Sprintf("w:%d:%d", caller, call), "v").Err()
		if ce := (*respool.ConnError)(nil); errors.As(err, &ce) && ce.Sent {
			return nil // of the killed primary
		}
		return err
	})
	checkAll := func() {
		t.Helper()
		for _, slot := range slotsOfAll {
			r.untilSet(client, slot)
		}
	}
	checkAll()

	c.Failover(c.Owner(0), "")
	r.gap()
	checkAll()

	added := c.AddPrimary()
	notify(added)
	writers.progress(100)
	c.MoveTogether(c.Owner(0), added, 0, 1, 2, 3)
	r.gap()
	r.untilSet(client, 0)
	checkAll()

	victim := c.Owner(clustertest.Slots - 1)
	victim.Kill()
	c.WaitOwner(t, clustertest.Slots-1, victim, within)
	r.gap()
	checkAll()

	writers.end()
	checkAll() // earlier notifications have arrived
	mu.Lock()
	defer mu.Unlock()
	for key, count := range seen {
		if count != 1 {
			t.Errorf("the notification of %s arrived %d times", key, count)
		}
	}
	watch.Stop()
	for _, n := range c.Nodes() {
		if peak := watch.PeakOf(n); peak > limit {
			t.Errorf("%d connections to %s: want %d at most", peak, n.Addr(), limit)
		}
	}
}

func TestClientsOfTheGatewayReceiveTheNotificationsOfAllPrimaries(t *testing.T) {
	c := startNotifying(t, clustertest.Config{})
	client := open(t, c)
	g, err := gateway.New(client.Engine(), gateway.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.Shutdown(context.Background()) })
	clients := []*gatewayClient{
		dialGateway(t, g, "HELLO 2", "SUBSCRIBE "+setEvent), dialGateway(t, g, "HELLO 3", "PSUBSCRIBE *"),
		dialGateway(t, g, "PSUBSCRIBE "+allEvents),
	}
	check := func() {
		t.Helper()
		for _, slot := range slotsOfAll {
			for _, peer := range clients {
				peer.untilLine(func(text string) string {
					key := testkit.SlotKey(slot, text)
					if err := client.Do(t.Context(), "SET", key, "v").Err(); err != nil {
						t.Fatal(err)
					}
					return key
				})
			}
		}
	}
	check()
	c.Failover(c.Owner(0), "")
	check()
}
