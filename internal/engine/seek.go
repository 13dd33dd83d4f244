package engine

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/multislot"
	"github.com/seed-2b0d76a6/respool/internal/pool"
	"github.com/seed-2b0d76a6/respool/internal/topology"
	"github.com/seed-2b0d76a6/respool/internal/topology/cluster"
)

// Pauses between the questions of a search: they grow from the first to the second with the time that it takes. A primary
// that fails is noticed by the others after their timeout of a second or more.
const (
	firstSeekPause = 20 * time.Millisecond
	lastSeekPause  = 100 * time.Millisecond
)

// soughtFor is how long a search continues after the last call of seek. Callers that wait call it after each pause.
const soughtFor = 4 * lastPause

// askLimit limits the wait for the answer of one node.
const askLimit = 250 * time.Millisecond

// sought is what a caller waits for at a node.
type sought struct {
	slot slot   // anySlot: any of the node
	key  []byte // of the slot, which the user may use; nil: unknown
	at   time.Time
}

// seek starts a search for the successor of a node that the map names, but that does not take commands now. A goroutine asks
// the other primaries in turn, as long as callers wait.
func (c *clusterRouter) seek(n *node, at slot, key, raw []byte) {
	want := &sought{slot: at, key: key, at: time.Now()}
	if want.slotAt(n, c.e.nodes.now.Load()) == anySlot {
		return
	}
	if want.key == nil {
		want.key = c.e.keyIn(raw)
	}
	n.sought.Store(want)
	if !n.seeking.CompareAndSwap(false, true) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.started && !c.stopped {
		c.running.Go(func() { c.search(n) })
	} else {
		n.seeking.Store(false)
	}
}

// slotAt returns a slot that the map still gives to the node; anySlot if there is none.
func (s *sought) slotAt(n *node, r *route) slot {
	switch {
	case r.slots == nil:
		return anySlot
	case s.slot == anySlot:
		return r.slots.slotOf(n)
	case r.owner(s.slot) != n:
		return anySlot
	}
	return s.slot
}

// keyIn returns the first key in encoded commands; nil if there is none.
func (e *Engine) keyIn(raw []byte) []byte {
	for c := range e.commandsIn(raw) {
		if c.info == nil {
			continue
		}
		if key := firstKey(&c); key != "" {
			return []byte(key)
		}
	}
	return nil
}

func (c *clusterRouter) search(n *node) {
	defer n.seeking.Store(false)
	began := time.Now()
	for turn := rand.N(1000); ; turn++ {
		select {
		case <-c.ctx.Done():
			return
		case <-time.After(min(max(firstSeekPause, time.Since(began)/128), lastSeekPause)):
		}
		want, r := n.sought.Load(), c.e.nodes.now.Load()
		at := want.slotAt(n, r)
		if time.Since(want.at) > soughtFor || at == anySlot {
			return
		}
		others := slices.DeleteFunc(slices.Clone(r.nodes()), func(other *node) bool { return other == n })
		if len(others) == 0 {
			others = c.replicasOf(n)
		}
		if len(others) > 0 {
			c.ask(others[turn%len(others)], n, int(at-1), want.key, r.slots.version)
		}
	}
}

// ask sends a command of a slot to another node than n, which the map names for it. A redirect shows who serves the slot, and
// so does the reply of a node that does.
func (c *clusterRouter) ask(other, n *node, slot int, key []byte, version uint64) {
	ctx, cancel := context.WithTimeout(c.ctx, askLimit)
	defer cancel()
	l, opt, err := laneOf(ctx, other.pool.Zero(), pool.Any, nil)
	if err != nil {
		return
	}
	if key == nil {
		key = multislot.KeyIn(slot)
	}
	frame, err := l.Do(ctx, []any{"EXISTS", key}, opt)
	if err != nil {
		return
	}
	if frame[0] != '-' {
		c.post(cluster.Moved{Slot: slot, From: n.addr, To: other.addr, Version: version})
	} else if to, ok := redirectIn(frame); ok && to.kind == topology.Moved {
		c.post(cluster.Moved{Slot: to.slot, From: other.addr, To: to.addr, Version: version})
	}
}

// replicasOf returns the replicas of a primary, ready for commands.
func (c *clusterRouter) replicasOf(n *node) []*node {
	var list []*node
	m := c.current.Load()
	for i := range m.Shards {
		if m.Shards[i].Primary.Addr != n.addr {
			continue
		}
		for _, r := range m.Shards[i].Replicas {
			if replica := c.node(r); replica != nil {
				c.ready(replica)
				list = append(list, replica)
			}
		}
	}
	return list
}
