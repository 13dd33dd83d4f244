package cluster

import (
	"context"
	"fmt"
	"testing"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/testkit/clustertest"
)

// INCR, pipelines and transactions count up by one with each call, so that a lost, repeated or reordered command shows.
func TestCallersSeeNoErrorWhileSlotsMove(t *testing.T) {
	c := clustertest.Start(t, clustertest.Config{Replicas: -1})
	client := open(t, c)
	ctx := patient(t)
	watch := c.Watch()
	load := callers(t, 30, func(caller int, call int64) error { return countUp(ctx, client, key(caller), caller%3, call) })
	from, to := c.Owner(0), c.Owner(clustertest.Slots-1)
	var slots []int
	for i := range 30 { // the callers' own, and others beside them
		slot := slotOf(key(i))
		for s := slot; s < slot+3; s++ {
			if c.Owner(s) == from {
				slots = append(slots, s)
			}
		}
	}
	c.MoveSlots(from, to, slots...)
	c.MoveSlots(to, from, slots...)
	load.progress(100)
	load.end()
	watch.Stop()
	for _, n := range c.Nodes() {
		if peak := watch.PeakOf(n); peak > client.Stats().MaxConnections {
			t.Errorf("%s counted %d connections", n.Addr(), peak)
		}
	}
	if st := client.Stats().Cluster; st.Moved == 0 {
		t.Errorf("no slot moved under a caller: %+v", st)
	}
}

// countUp increments the keys of a caller: with single commands, a pipeline over several slots, or a transaction. It
// returns an error unless each returns call.
func countUp(ctx context.Context, client *respool.Client, k string, how int, call int64) error {
	var replies []respool.Reply
	var err error
	switch how {
	case 0:
		replies = []respool.Reply{client.Do(ctx, "INCR", k)}
	case 1:
		pipe := client.Pipeline()
		for i := range 10 {
			pipe.Do("INCR", fmt.Sprintf("%s:%d", k, i))
		}
		replies, err = pipe.Exec(ctx)
	case 2:
		replies, err = client.Transaction().Do("INCR", "{"+k+"}a").Do("INCR", "{"+k+"}b").Exec(ctx)
	}
	for _, r := range replies {
		if err == nil {
			err = incremented(r, call)
		}
	}
	return err
}

// The commands of a pipeline for one key keep their order while the key's slot is moved to and fro.
func TestPipelinesKeepTheOrderOfASlotThatMoves(t *testing.T) {
	c := clustertest.Start(t, clustertest.Config{Replicas: -1})
	client := open(t, c)
	ctx := patient(t)
	load := callers(t, 8, func(caller int, call int64) error {
		k := fmt.Sprintf("{moves}%d", caller)
		pipe := client.Pipeline()
		const n = 50
		for i := range n {
			pipe.Do("SET", k, i).Do("INCR", k+":count")
		}
		replies, err := pipe.Exec(ctx)
		if err != nil {
			return err
		}
		done := int64(0)
		for i := range n {
			if err := replies[2*i].Err(); err != nil {
				return err
			}
			if replies[2*i+1].Err() == nil {
				done++
			}
		}
		if last, err := client.Do(ctx, "GET", k).Int64(); err != nil || last != n-1 {
			return fmt.Errorf("the last SET was %d, %v: want %d", last, err, n-1)
		}
		return incremented(client.Do(ctx, "INCRBY", k+":count", -done), 0)
	})
	slot := slotOf("{moves}")
	home := c.Owner(slot)
	other := c.Primaries()[0]
	if other == home {
		other = c.Primaries()[1]
	}
	for range 5 {
		m := c.BeginMove(slot, other)
		load.progress(20)
		m.MoveKeys("{moves}0", "{moves}1:count", "{moves}2")
		load.progress(20)
		m.Finish()
		load.progress(20)
		c.MoveSlots(other, home, slot)
	}
	load.end()
	if st := client.Stats().Cluster; st.Asked == 0 || st.Moved == 0 {
		t.Errorf("the slot did not move under the callers: %+v", st)
	}
}

// A new node has no slots yet when ASK names it. Afterwards MOVED does.
func TestAskNamesANodeWithoutSlots(t *testing.T) {
	c := clustertest.Start(t, clustertest.Config{Replicas: -1})
	client := open(t, c)
	ctx := patient(t)
	added := c.AddPrimary()
	const k = "{asked}"
	slot := slotOf(k)
	m := c.BeginMove(slot, added)
	if err := client.Do(ctx, "SET", k, 1).Err(); err != nil { // missing at the old node: ASK
		t.Fatal(err)
	}
	pipe := client.Pipeline()
	for i := range 20 {
		pipe.Do("INCR", fmt.Sprintf("%s%d", k, i)).Do("INCR", key(i))
	}
	replies, err := pipe.Exec(ctx)
	for _, r := range replies {
		if err == nil {
			err = incremented(r, 1)
		}
	}
	if err != nil {
		t.Error(err)
	}
	if _, err := client.Transaction().Do("INCR", k).Do("GET", k).Exec(ctx); err != nil {
		t.Errorf("a transaction on the key that has moved: %v", err)
	}
	if st := client.Stats().Cluster; st.Asked == 0 {
		t.Errorf("nothing was asked: %+v", st)
	}
	m.Finish()
	if err := incremented(client.Do(ctx, "INCR", k), 3); err != nil {
		t.Error(err)
	}
}

// A redirect leads straight to the node that it names: one MOVED for each slot, although the client asks for no map.
func TestMovedsOwnAddressIsUsed(t *testing.T) {
	c := clustertest.Start(t, clustertest.Config{Replicas: -1})
	client := open(t, c)
	ctx := patient(t)
	from, to := c.Owner(0), c.Owner(clustertest.Slots-1)
	const n = 10
	var slots []int
	var keys []string
	for i := 0; len(slots) < n; i++ {
		if k := keyAt(c, from, i); len(keys) == 0 || keys[len(keys)-1] != k {
			keys, slots = append(keys, k), append(slots, slotOf(k))
		}
	}
	for _, k := range keys {
		if err := client.Do(ctx, "SET", k, 1).Err(); err != nil {
			t.Fatal(err)
		}
	}
	c.MoveSlots(from, to, slots...)
	before := c.ErrorReplies("MOVED")
	for range 3 {
		for _, k := range keys {
			if err := client.Do(ctx, "GET", k).Err(); err != nil {
				t.Error(err)
			}
		}
	}
	if moved := c.ErrorReplies("MOVED") - before; moved > n {
		t.Errorf("%d MOVED replies: want one for each slot, %d", moved, n)
	}
}

// Two nodes that name each other cost few redirects, and no error.
func TestNodesThatRedirectToEachOther(t *testing.T) {
	c := clustertest.Start(t, clustertest.Config{Replicas: -1})
	client := open(t, c)
	ctx := patient(t)
	k := keyAt(c, c.Owner(0), 0)
	end := c.Loop(slotOf(k), c.Owner(clustertest.Slots-1))
	before := c.ErrorReplies("MOVED")
	done := make(chan error, 1)
	go func() { done <- client.Do(ctx, "SET", k, 1).Err() }()
	waitFor(2)
	end()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if moved := c.ErrorReplies("MOVED") - before; moved < 3 || moved > 200 {
		t.Errorf("%d redirects: want a few, 200 at most", moved)
	}
}
