package cluster

import (
	"fmt"
	"strings"
	"time"
)

// patch is a change of a slot's owner that a MOVED reply caused.
type patch struct {
	at       time.Duration
	whole    bool // the slot moved with its shard; no MOVED named it
	assessed bool // an answer was compared with it
}

// ask is a node that ASK replies named.
type ask struct {
	node Node
	at   time.Duration // of the last one
}

// node returns the node with an address, known or not.
func (m *Machine) node(addr string) Node {
	if n, ok := m.current.Node(addr); ok {
		return n
	}
	return Node{Addr: addr}
}

// moved processes a MOVED reply.
func (m *Machine) moved(e Moved) {
	if m.current == nil {
		return
	}
	from := m.node(e.From)
	to, ok := m.cfg.Target(from, e.To)
	if e.Slot < 0 || e.Slot >= Slots || !ok {
		m.malformed("a MOVED reply names no address", from)
		m.request(&m.dueOther)
		return
	}
	if known, ok := m.current.Node(to.Addr); ok {
		to = known
	}
	switch {
	case to.Addr == from.Addr:
		// Another node may know the owner: it is no patch.
		m.request(&m.dueOther)
		return
	case m.current.owner(e.Slot) == to.Addr:
		if m.current.Shard(e.Slot).replica(from.Addr) >= 0 && e.Version >= m.changed[e.Slot] {
			m.request(&m.dueOther) // the replica follows another primary, or has not heard of the slot yet
		}
		return
	case e.Version < m.changed[e.Slot]:
		// The slot's owner changed after the command was sent, so the reply may be the older news.
		m.view.Outdated++
		return
	}
	delete(m.doubts, from.Addr)
	m.freshen(from)
	m.freshen(to)
	m.request(&m.dueMoved)
	if m.protected(e.Slot) && m.current.owner(e.Slot) != from.Addr {
		return // only the target of a recent patch can deny it
	}
	m.patch(e.Slot, from, to)
}

// patch gives a slot to a node. If the node is a replica of the slot's owner, it took over all slots of the shard.
func (m *Machine) patch(slot int, from, to Node) {
	next := m.current.edit()
	cause := fmt.Sprintf("MOVED %d from %s to %s", slot, from.Addr, to.Addr)
	shard := next.Shard(slot)
	old := ""
	if shard != nil {
		old = shard.Primary.Addr
	}
	replaced, promoted := m.promoted[old]
	switch {
	case promoted && replaced == to.Addr:
		m.revert(next, old, to)
		cause += ", which is still a primary"
	case shard != nil && shard.replica(to.Addr) >= 0 && !promoted: // no assumption builds on another one
		m.promote(next, slot, to)
		cause += ", its replica: the whole shard moves"
	}
	next.Owner[slot] = uint16(next.separate(to) + 1)
	m.patches[slot] = &patch{at: m.now}
	m.publish(next, cause)
}

// promote makes a replica the primary of a slot's shard. The old primary becomes a replica.
func (m *Machine) promote(next *Map, slot int, to Node) {
	owner := next.Owner[slot]
	shard := &next.Shards[owner-1]
	m.promoted[to.Addr] = shard.Primary.Addr
	s := Shard{Primary: to, Replicas: []Node{shard.Primary}}
	for _, n := range shard.Replicas {
		if n.Addr != to.Addr {
			s.Replicas = append(s.Replicas, n)
		}
	}
	s.sort()
	*shard = s
	for i := range Slots {
		if next.Owner[i] == owner {
			m.patches[i] = &patch{at: m.now, whole: true}
		}
	}
}

// revert returns the slots that only moved with their shard to its old primary, because the new one does not own one of
// them.
func (m *Machine) revert(next *Map, addr string, old Node) {
	to := uint16(next.separate(old) + 1)
	for slot, p := range m.patches {
		if p.whole && next.owner(slot) == addr {
			next.Owner[slot] = to
			m.patches[slot] = &patch{at: m.now, whole: true}
		}
	}
}

// separate returns the index of the shard of a primary. If the map lists the node as a replica, or not at all, the
// node gets a shard of its own.
func (m *Map) separate(n Node) int {
	for i := range m.Shards {
		s := &m.Shards[i]
		if s.replica(n.Addr) < 0 {
			continue
		}
		var others []Node
		for _, r := range s.Replicas {
			if r.Addr != n.Addr {
				others = append(others, r)
			}
		}
		s.Replicas = others
	}
	return m.ensure(Shard{Primary: n})
}

// protected reports whether a slot's patch outlives an answer that contradicts it.
func (m *Machine) protected(slot int) bool {
	p := m.patches[slot]
	return p != nil && m.now-p.at < patchFor
}

// assess compares an answer with the patches that were made before its query. While they prove right, queries can be
// rarer.
func (m *Machine) assess(a *answer, next *Map) {
	right, wrong := 0, 0
	for slot, p := range m.patches {
		if p.whole || p.assessed || p.at > a.flight.sent || a.slots.unread[slot] {
			continue
		}
		agrees := next.owner(slot) == m.current.owner(slot)
		if agrees {
			right++
		} else {
			wrong++
		}
		p.assessed = agrees || !m.protected(slot)
	}
	if right > 0 && wrong == 0 {
		m.interval = min(2*m.interval, m.cfg.MaxInterval)
		return
	}
	m.interval = m.cfg.MinInterval
}

// forgetPatches removes patches that have no effect any more.
func (m *Machine) forgetPatches() {
	for slot, p := range m.patches {
		if (p.assessed || p.whole) && !m.protected(slot) {
			delete(m.patches, slot)
		}
	}
}

// ask processes an ASK reply. The slot still belongs to the node that replied.
func (m *Machine) ask(e Ask) {
	if m.current == nil {
		return
	}
	from := m.node(e.From)
	to, ok := m.cfg.Target(from, e.To)
	if !ok {
		m.malformed("an ASK reply names no address", from)
		return
	}
	known, ok := m.current.Node(to.Addr)
	if ok {
		to = known
	}
	if _, asked := m.asked[to.Addr]; !asked && len(m.asked) >= maxAsked {
		m.forgetAsked()
	}
	m.asked[to.Addr] = ask{node: to, at: m.now}
	if !ok {
		next := m.current.edit()
		next.ensure(Shard{Primary: to})
		m.publish(next, fmt.Sprintf("ASK from %s to %s", from.Addr, to.Addr))
	}
}

// forgetAsked forgets the node whose last ASK reply is the oldest.
func (m *Machine) forgetAsked() {
	oldest := ""
	for addr, a := range m.asked {
		if oldest == "" || a.at < m.asked[oldest].at || a.at == m.asked[oldest].at && strings.Compare(addr, oldest) < 0 {
			oldest = addr
		}
	}
	delete(m.asked, oldest)
}

// isAsked reports whether an ASK reply named a node since the last poll. Such a node is importing its first slot, and
// CLUSTER SLOTS does not list it.
func (m *Machine) isAsked(addr string) bool {
	a, ok := m.asked[addr]
	return ok && m.now-a.at < m.cfg.Poll
}

// keepAsked adds the nodes of recent ASK replies to an answer's map.
func (m *Machine) keepAsked(next *Map) {
	for addr := range m.asked {
		if !m.isAsked(addr) {
			delete(m.asked, addr)
		}
	}
	for i := range m.current.Shards { // in the order of the current map
		n := m.current.Shards[i].Primary
		if _, listed := next.Node(n.Addr); !listed && m.isAsked(n.Addr) {
			next.ensure(Shard{Primary: n})
		}
	}
}
