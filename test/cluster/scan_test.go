package cluster

import (
	"errors"
	"fmt"
	"testing"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/testkit/clustertest"
)

// A scan returns every key that exists all the time, although slots move to nodes that were scanned already, and to a new one.
func TestScanReturnsAllKeysWhileSlotsMove(t *testing.T) {
	c := clustertest.Start(t, clustertest.Config{Replicas: -1})
	ctx := patient(t)
	const n = 10_000
	fill := open(t, c)
	pipe := fill.Pipeline()
	for i := range n {
		pipe.Do("SET", key(i), i)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		t.Fatal(err)
	}
	first, last := c.Owner(0), c.Owner(clustertest.Slots-1)
	added := c.AddPrimary()
	for _, protocol := range []string{"2", "3"} {
		client := open(t, c, "protocol="+protocol)
		seen := map[string]bool{}
		moves := 0
		for k, err := range client.Scan(ctx, respool.ScanOptions{Count: 100}) {
			if err != nil {
				t.Fatal(err)
			}
			if seen[k] = true; len(seen) == (moves+1)*n/4 && moves < 3 {
				moves++
				from, to := first, last // in every order of the nodes, one of the moves leads to a scanned node
				if moves == 2 {
					from, to = last, first
				}
				if moves == 3 {
					to = added
				}
				c.MoveSlots(from, to, ownedBy(c, from, 40)...)
			}
		}
		if len(seen) != n || moves != 3 {
			t.Errorf("protocol %s: %d keys of %d, during %d moves", protocol, len(seen), n, moves)
		}
		seen = map[string]bool{}
		for cursor := "0"; ; {
			parts, err := client.Do(ctx, "SCAN", cursor, "COUNT", 500).Array()
			if err != nil {
				t.Fatal(err)
			}
			keys, err := parts[1].Texts()
			if err != nil {
				t.Fatal(err)
			}
			for _, k := range keys {
				seen[k] = true
			}
			if cursor, err = parts[0].Text(); err != nil || cursor == "0" {
				break
			}
		}
		if len(seen) != n {
			t.Errorf("protocol %s: SCAN returned %d keys of %d", protocol, len(seen), n)
		}
		if k, err := client.Do(ctx, "RANDOMKEY").Text(); err != nil || !seen[k] {
			t.Errorf("RANDOMKEY: %q, %v", k, err)
		}
		if err := client.Do(ctx, "SCAN", "x").Err(); err == nil || err.Error() != "ERR invalid cursor" {
			t.Errorf("a cursor that is no number: %v", err)
		}
	}
	if err := fill.Do(ctx, "FLUSHALL").Err(); err != nil {
		t.Fatal(err)
	}
	if _, err := fill.Do(ctx, "RANDOMKEY").Text(); !errors.Is(err, respool.ErrNil) {
		t.Errorf("RANDOMKEY without keys: %v", err)
	}
	for i := range 3 { // all keys at one node: the others are never drawn
		if err := fill.Do(ctx, "SET", fmt.Sprint("{one}", i), 1).Err(); err != nil {
			t.Fatal(err)
		}
	}
	for range 20 {
		if _, err := fill.Do(ctx, "RANDOMKEY").Text(); err != nil {
			t.Errorf("RANDOMKEY with keys at one node: %v", err)
		}
	}
}

// ownedBy returns some slots of a node.
func ownedBy(c *clustertest.Cluster, n *clustertest.Node, count int) (slots []int) {
	for s := 0; s < clustertest.Slots && len(slots) < count; s++ {
		if c.Owner(s) == n {
			slots = append(slots, s)
		}
	}
	return slots
}
