package cluster

import (
	"fmt"
	"slices"
	"strings"
)

// Slots is the number of hash slots of a cluster.
const Slots = 16384

// Node is the address of a node, and its identity.
type Node struct {
	Addr     string // host:port to dial, mapped; unique within a Map
	Hostname string // name for the verification of its certificate; empty: the host of Addr
	ID       string // empty if only a redirect named the node
}

// Shard is a primary with its replicas.
type Shard struct {
	Primary  Node
	Replicas []Node // ordered by address
}

// Map assigns the slots to shards. It is immutable and safe for concurrent use.
type Map struct {
	Version uint64 // increases with each change
	Epoch   uint64 // the cluster's epoch in the last answer that changed the map
	Shards  []Shard
	Owner   [Slots]uint16 // by slot: index into Shards plus 1; 0: the slot has no owner
}

// Shard returns the owner of a slot, or nil. The caller must not change it.
func (m *Map) Shard(slot int) *Shard {
	if m == nil || slot < 0 || slot >= Slots || m.Owner[slot] == 0 {
		return nil
	}
	return &m.Shards[m.Owner[slot]-1]
}

// Node returns the primary or replica with an address.
func (m *Map) Node(addr string) (Node, bool) {
	if m == nil {
		return Node{}, false
	}
	for i := range m.Shards {
		s := &m.Shards[i]
		if s.Primary.Addr == addr {
			return s.Primary, true
		}
		if r := s.replica(addr); r >= 0 {
			return s.Replicas[r], true
		}
	}
	return Node{}, false
}

// Covered returns the number of slots that have an owner.
func (m *Map) Covered() int {
	n := 0
	for _, owner := range &m.Owner {
		if owner != 0 {
			n++
		}
	}
	return n
}

// Uncovered returns the slots without an owner as a text such as "0-99, 500", or "". It names at most 16 ranges.
func (m *Map) Uncovered() string {
	const most = 16
	var text strings.Builder
	ranges := 0
	for slot := 0; slot < Slots; slot++ {
		if m.Owner[slot] != 0 {
			continue
		}
		first := slot
		for slot+1 < Slots && m.Owner[slot+1] == 0 {
			slot++
		}
		if ranges++; ranges > most {
			continue
		}
		if ranges > 1 {
			text.WriteString(", ")
		}
		fmt.Fprintf(&text, "%d", first)
		if slot > first {
			fmt.Fprintf(&text, "-%d", slot)
		}
	}
	if ranges > most {
		fmt.Fprintf(&text, " and %d more ranges", ranges-most)
	}
	return text.String()
}

// replica returns the index of the replica with an address, or -1.
func (s *Shard) replica(addr string) int {
	return slices.IndexFunc(s.Replicas, func(n Node) bool { return n.Addr == addr })
}

func (s *Shard) sort() {
	slices.SortFunc(s.Replicas, func(a, b Node) int { return strings.Compare(a.Addr, b.Addr) })
}

// owner returns the address of a slot's primary, or "".
func (m *Map) owner(slot int) string {
	if s := m.Shard(slot); s != nil {
		return s.Primary.Addr
	}
	return ""
}

// primary returns the index of the shard with a primary, or -1.
func (m *Map) primary(addr string) int {
	return slices.IndexFunc(m.Shards, func(s Shard) bool { return s.Primary.Addr == addr })
}

// edit returns a copy with the next version. Its lists of replicas are shared.
func (m *Map) edit() *Map {
	next := *m
	next.Version++
	next.Shards = slices.Clone(m.Shards)
	return &next
}

// ensure returns the index of the shard with the primary of s. If there is none, it adds s.
func (m *Map) ensure(s Shard) int {
	if i := m.primary(s.Primary.Addr); i >= 0 {
		return i
	}
	if len(m.Shards) >= maxShards {
		m.tidy(nil)
	}
	m.Shards = append(m.Shards, s)
	return len(m.Shards) - 1
}

// tidy removes shards without slots, except those whose primary is in keep. It removes nodes that are listed twice:
// first replicas that are primaries too, then second mentions.
func (m *Map) tidy(keep func(addr string) bool) {
	used := make([]bool, len(m.Shards))
	for _, owner := range &m.Owner {
		if owner != 0 {
			used[owner-1] = true
		}
	}
	moved := make([]uint16, len(m.Shards)+1)
	seen := map[string]bool{}
	var kept []Shard
	for i, s := range m.Shards {
		if used[i] || keep != nil && keep(s.Primary.Addr) {
			kept = append(kept, s)
			moved[i+1] = uint16(len(kept))
			seen[s.Primary.Addr] = true
		}
	}
	for i := range kept {
		s := &kept[i]
		replicas := make([]Node, 0, len(s.Replicas))
		for _, n := range s.Replicas {
			if !seen[n.Addr] {
				seen[n.Addr] = true
				replicas = append(replicas, n)
			}
		}
		s.Replicas = replicas
	}
	for slot, owner := range &m.Owner {
		m.Owner[slot] = moved[owner]
	}
	m.Shards = kept
}

// changes returns the slots whose owners differ between two maps.
func (m *Map) changes(other *Map) []int {
	index := make([]int, len(m.Shards)+1) // by owner in m: owner in other; -1: none
	for i := range m.Shards {
		addr := m.Shards[i].Primary.Addr
		at := i // most shards keep their place
		if i >= len(other.Shards) || other.Shards[i].Primary.Addr != addr {
			at = other.primary(addr)
		}
		if index[i+1] = at + 1; at < 0 {
			index[i+1] = -1
		}
	}
	var slots []int
	for slot, owner := range &m.Owner {
		if index[owner] != int(other.Owner[slot]) {
			slots = append(slots, slot)
		}
	}
	return slots
}

// same reports whether two maps differ at most in version, epoch and the order of shards.
func (m *Map) same(other *Map) bool {
	if len(m.Shards) != len(other.Shards) || len(m.changes(other)) > 0 {
		return false
	}
	for _, s := range m.Shards {
		i := other.primary(s.Primary.Addr)
		if i < 0 || s.Primary != other.Shards[i].Primary || !slices.Equal(s.Replicas, other.Shards[i].Replicas) {
			return false
		}
	}
	return true
}
