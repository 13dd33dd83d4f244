//go:build unix

package clustertest

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
)

// MoveSlots moves slots from one primary to another, slot by slot, while clients use them. Keys must
// not contain line breaks. It may run on any goroutine. If a move fails, it fails the test and returns.
func (c *Cluster) MoveSlots(from, to *Node, slots ...int) {
	c.t.Helper()
	for _, slot := range slots {
		m := &Move{c: c, slot: slot, from: from, to: to}
		err := m.begin()
		if err == nil {
			err = m.finish()
		}
		if err != nil {
			c.t.Errorf("move slot %d from %s to %s: %v", slot, from.Addr(), to.Addr(), err)
			return
		}
	}
}

// MoveTogether moves slots at the same time, each in two steps: some of its keys, and then the others. Its rules are those of
// MoveSlots. It is faster, because it needs few round trips, and each slot is half-moved for longer.
func (c *Cluster) MoveTogether(from, to *Node, slots ...int) {
	c.t.Helper()
	if err := c.moveTogether(from, to, slots); err != nil {
		c.t.Errorf("move slots from %s to %s: %v", from.Addr(), to.Addr(), err)
	}
}

// firstKeys is how many keys of a slot MoveTogether moves first.
const firstKeys = 5

func (c *Cluster) moveTogether(from, to *Node, slots []int) error {
	set := func(n *Node, args ...string) error {
		_, err := n.forEach(slots, func(slot string) []string { return append([]string{"SETSLOT", slot}, args...) })
		return err
	}
	if err := set(to, "IMPORTING", from.ID); err != nil {
		return err
	}
	if err := set(from, "MIGRATING", to.ID); err != nil {
		return err
	}
	for count := firstKeys; ; count = 1000 {
		keys, err := from.forEach(slots, func(slot string) []string { return []string{"GETKEYSINSLOT", slot, strconv.Itoa(count)} })
		if err != nil {
			return err
		}
		keys = slices.DeleteFunc(keys, func(list string) bool { return list == "" })
		if len(keys) == 0 {
			break
		}
		var commands [][]string
		for _, list := range keys {
			commands = append(commands, from.migration(to, strings.Split(list, "\n")))
		}
		if _, err := from.TryAll(commands...); err != nil {
			return err
		}
	}
	for _, n := range []*Node{to, from} { // in this order: see Move.finish
		if err := set(n, "NODE", to.ID); err != nil {
			return err
		}
	}
	for _, n := range c.reachable() {
		v, err := n.view()
		if err == nil && n != from && n != to && v.self.is("master") {
			err = set(n, "NODE", to.ID)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// forEach runs a CLUSTER command for each slot, as one pipeline.
func (n *Node) forEach(slots []int, command func(slot string) []string) ([]string, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	var commands [][]string
	for _, slot := range slots {
		args := command(strconv.Itoa(slot))
		n.countOwnLocked(args[0])
		commands = append(commands, append([]string{"CLUSTER"}, args...))
	}
	return n.TryAll(commands...)
}

// Move is a slot that moves: its keys are at either node. The old owner redirects clients to the new
// one for keys that it does not have. Like MoveSlots, the methods may run on any goroutine.
type Move struct {
	c        *Cluster
	slot     int
	from, to *Node
}

// BeginMove starts to move a slot from its owner to another primary. It moves no keys. The move ends
// with Finish or Cancel.
func (c *Cluster) BeginMove(slot int, to *Node) *Move {
	c.t.Helper()
	m := &Move{c: c, slot: slot, from: c.Owner(slot), to: to}
	m.check("begin", m.begin())
	return m
}

// MoveKeys moves keys of the slot. It ignores keys that the old owner does not have.
func (m *Move) MoveKeys(keys ...string) {
	m.c.t.Helper()
	m.check("move keys", m.from.migrate(m.to, keys))
}

// Finish moves the other keys, and makes all primaries know the new owner.
func (m *Move) Finish() {
	m.c.t.Helper()
	m.check("finish", m.finish())
}

// Cancel moves the keys back and ends the move. Clients must not use the slot meanwhile.
func (m *Move) Cancel() {
	m.c.t.Helper()
	m.check("cancel", m.cancel())
}

func (m *Move) check(step string, err error) {
	m.c.t.Helper()
	if err != nil {
		m.c.t.Errorf("move slot %d from %s to %s: %s: %v", m.slot, m.from.Addr(), m.to.Addr(), step, err)
	}
}

func (m *Move) begin() error {
	if err := m.set(m.to, "IMPORTING", m.from.ID); err != nil {
		return err
	}
	return m.set(m.from, "MIGRATING", m.to.ID)
}

func (m *Move) set(n *Node, args ...string) error {
	_, err := n.try(append([]string{"SETSLOT", strconv.Itoa(m.slot)}, args...)...)
	if err != nil {
		return fmt.Errorf("%s: SETSLOT %s: %w", n.Addr(), strings.Join(args, " "), err)
	}
	return nil
}

func (m *Move) finish() error {
	if err := m.from.migrateSlot(m.to, m.slot); err != nil {
		return err
	}
	// If the old owner were first, no node would own the slot for a moment.
	for _, n := range []*Node{m.to, m.from} {
		if err := m.set(n, "NODE", m.to.ID); err != nil {
			return err
		}
	}
	for _, n := range m.c.reachable() {
		v, err := n.view()
		if err != nil {
			return err
		}
		if n == m.from || n == m.to || !v.self.is("master") {
			continue
		}
		if err := m.set(n, "NODE", m.to.ID); err != nil {
			return err
		}
	}
	return nil
}

func (m *Move) cancel() error {
	// While it migrates the slot, the old owner refuses keys that it does not have.
	if err := m.set(m.from, "STABLE"); err != nil {
		return err
	}
	if err := m.to.migrateSlot(m.from, m.slot); err != nil {
		return err
	}
	return m.set(m.to, "STABLE")
}

// migrateBatch is the number of keys that move at once.
const migrateBatch = 100

// migrateSlot moves all keys of a slot.
func (n *Node) migrateSlot(to *Node, slot int) error {
	for {
		keys, err := n.try("GETKEYSINSLOT", strconv.Itoa(slot), strconv.Itoa(migrateBatch))
		if err != nil || keys == "" {
			return err
		}
		if err := n.migrate(to, strings.Split(keys, "\n")); err != nil {
			return err
		}
	}
}

// migrate moves keys.
func (n *Node) migrate(to *Node, keys []string) error {
	if len(keys) == 0 {
		return nil
	}
	if _, err := n.TryDo(n.migration(to, keys)...); err != nil {
		return fmt.Errorf("%s: MIGRATE: %w", n.Addr(), err)
	}
	return nil
}

// migration returns the command that moves keys.
func (n *Node) migration(to *Node, keys []string) []string {
	host, port, _ := net.SplitHostPort(to.Server.Addr())
	args := []string{"MIGRATE", host, port, "", "0", "20000"}
	if password := n.c.cfg.Password; password != "" {
		args = append(args, "AUTH", password)
	}
	return append(append(args, "KEYS"), keys...)
}

// Loop makes the owner of a slot and another primary redirect clients to each other, until end is
// called. The slot must have no keys.
func (c *Cluster) Loop(slot int, other *Node) (end func()) {
	c.t.Helper()
	m := &Move{c: c, slot: slot, from: c.Owner(slot), to: other}
	m.check("begin a loop", m.set(m.from, "NODE", other.ID))
	return func() {
		c.t.Helper()
		m.check("end a loop", m.set(m.from, "NODE", m.from.ID))
	}
}
