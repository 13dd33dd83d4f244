//go:build unix

package clustertest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/seed-2b0d76a6/respool/internal/testkit"
)

func TestSlotsMoveWithTheirKeys(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]Config{
		"plain":  {},
		"secure": {TLSOnly: true, Password: "hush"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := Start(t, cfg)
			from, to := c.Owner(0), c.Owner(Slots-1)
			var slots []int
			for slot := range 50 {
				slots = append(slots, slot)
				for i := range 3 {
					from.Do("SET", testkit.SlotKey(slot, fmt.Sprint(i)), "v")
				}
			}
			for i := range migrateBatch * 2 { // more than one batch
				from.Do("SET", testkit.SlotKey(7, fmt.Sprint("more", i)), "v")
			}
			c.MoveSlots(from, to, slots...)
			c.WaitHealthy(t, limit)
			for _, slot := range slots {
				if c.Owner(slot) != to {
					t.Fatalf("slot %d belongs to %s: want %s", slot, c.Owner(slot).Addr(), to.Addr())
				}
				want(t, "GET", to.Do("GET", testkit.SlotKey(slot, "2")), "v")
			}
			want(t, "the keys", to.Do("DBSIZE"), fmt.Sprint(150+migrateBatch*2))
			want(t, "the keys left", from.Do("DBSIZE"), "0")
		})
	}
}

func TestAHalfMovedSlotAsks(t *testing.T) {
	t.Parallel()
	c := Start(t, Config{Replicas: -1})
	from, to := c.Owner(5), c.Owner(Slots-1)
	moved, left, created := testkit.SlotKey(5, "moved"), testkit.SlotKey(5, "left"), testkit.SlotKey(5, "created")
	from.Do("SET", moved, "1")
	from.Do("SET", left, "2")
	old, new := connect(t, from), connect(t, to)

	m := c.BeginMove(5, to)
	m.MoveKeys(moved, testkit.SlotKey(5, "none"))
	want(t, "the moved key", ask(t, old, "GET "+moved), "-ASK 5 "+to.Endpoint())
	want(t, "the other key", ask(t, old, "GET "+left), "$1")
	both := "-TRYAGAIN Multiple keys request during rehashing of slot"
	if !from.Version().Since(7, 0) {
		both = "-ASK 5 " + to.Endpoint()
	}
	want(t, "both", ask(t, old, "MGET "+moved+" "+left), both)
	want(t, "ASKING", ask(t, new, "ASKING"), "+OK")
	want(t, "SET", ask(t, new, "SET "+created+" 3"), "+OK")
	want(t, "without ASKING", ask(t, new, "GET "+moved), "-MOVED 5 "+from.Endpoint())

	m.Cancel()
	for _, key := range []string{moved, left, created} {
		if from.Do("GET", key) == "" {
			t.Errorf("%s is lost", key)
		}
	}
	want(t, "the keys of the other node", to.Do("DBSIZE"), "0")

	m = c.BeginMove(5, to)
	m.MoveKeys(left)
	m.Finish()
	c.WaitAgreed(t, limit)
	for _, n := range c.Nodes() {
		if n != to {
			want(t, "a redirect", ask(t, connect(t, n), "GET "+left), "-MOVED 5 "+to.Endpoint())
		}
	}
	want(t, "the keys", to.Do("DBSIZE"), "3")
}

func TestTwoNodesPointAtEachOther(t *testing.T) {
	t.Parallel()
	c := Start(t, Config{})
	a, b := c.Owner(3), c.Owner(Slots-1)
	key := testkit.SlotKey(3, "k")
	end := c.Loop(3, b)
	// The gossip of several rounds does not end the loop.
	rounds := map[string]int{}
	testkit.Eventually(t, "the nodes exchange pings", func() bool {
		for _, n := range []*Node{a, b} {
			want(t, "a redirect", ask(t, connect(t, n), "GET "+key), "-MOVED 3 "+map[*Node]*Node{a: b, b: a}[n].Endpoint())
			info := n.cluster("INFO")
			_, sent, _ := strings.Cut(info, "cluster_stats_messages_ping_sent:")
			count := 0
			fmt.Sscan(sent, &count)
			if _, seen := rounds[n.ID]; !seen {
				rounds[n.ID] = count
			}
			if count < rounds[n.ID]+10 {
				return false
			}
		}
		return true
	})
	end()
	c.WaitHealthy(t, limit)
	if c.Owner(3) != a {
		t.Errorf("slot 3 belongs to %s: want %s", c.Owner(3).Addr(), a.Addr())
	}
	want(t, "SET", ask(t, connect(t, a), "SET "+key+" v"), "+OK")
}
