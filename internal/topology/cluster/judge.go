package cluster

import (
	"fmt"

	"github.com/seed-2b0d76a6/respool/internal/topology"
)

// answer is a readable answer of a node whose state is ok.
type answer struct {
	from    Node
	flight  flight
	epoch   uint64
	noEpoch bool // CLUSTER INFO was refused
	slots   *slotsReader
	related relation
}

// answered processes the outcome of a query.
func (m *Machine) answered(e Answer) {
	r := &m.round
	if e.Seq == 0 || r.flight.seq != e.Seq || r.flight.lookup {
		return
	}
	f := r.flight
	r.flight = flight{}
	a, cause := m.read(f, e)
	if cause == nil {
		cause = m.objection(a)
	}
	if cause != nil {
		r.causes = append(r.causes, cause)
		return
	}
	m.accept(a)
}

// read returns the answer, or the reason why it is unusable. It records whether the node belongs to the map's cluster.
func (m *Machine) read(f flight, e Answer) (*answer, *Cause) {
	addr := f.node.Addr
	if e.Err != nil {
		return nil, causeOf(addr, e.Err)
	}
	refused := func(detail string) *Cause { return &Cause{Addr: addr, Finding: Refused, Detail: detail} }
	if err := topology.ErrorOf(e.Slots); err != nil {
		if err.Code == "NOPERM" {
			return nil, &Cause{Addr: addr, Finding: NoPermission, Detail: "grant the user +cluster|slots and +cluster|info"}
		}
		return nil, refusal(addr, err, m.cfg.TLS)
	}
	slots, ok := slotsOf(&m.cfg, f.node, e.Slots)
	if !ok {
		m.malformed("the answer to CLUSTER SLOTS is no list", f.node)
		return nil, refused("its answer to CLUSTER SLOTS is no list")
	}
	for _, problem := range slots.problems {
		m.malformed(problem, f.node)
	}
	a := &answer{from: f.node, flight: f, slots: slots, related: m.related(slots)}
	m.round.kin = m.round.kin || a.related == same
	if err := topology.ErrorOf(e.Info); err != nil {
		if err.Code != "NOPERM" && !unknownCommand(err) {
			return nil, refusal(addr, err, m.cfg.TLS)
		}
		a.noEpoch, a.epoch = true, m.epoch
	} else {
		info, problem := infoOf(e.Info)
		if problem != "" {
			m.malformed("the answer to CLUSTER INFO "+problem, f.node)
			return nil, refused("its answer to CLUSTER INFO " + problem)
		}
		if info.state != "ok" {
			return nil, refused("its cluster_state is " + topology.Clip(info.state))
		}
		a.epoch = info.epoch
	}
	if len(slots.shards) == 0 {
		return nil, refused("it names no owner of any slot")
	}
	return a, nil
}

// malformed counts a part of an answer that cannot be read.
func (m *Machine) malformed(problem string, from Node) {
	m.view.Malformed++
	m.view.Problem = from.Addr + ": " + problem
}

// objection returns the reason why an answer does not count, or nil.
func (m *Machine) objection(a *answer) *Cause {
	r := &m.round
	if a.related == different {
		if r.foreign == nil {
			r.foreign = a
		}
		return &Cause{Addr: a.from.Addr, Finding: Refused, Detail: "it belongs to another cluster"}
	}
	if a.epoch >= m.epoch {
		return nil
	}
	if !m.below {
		m.below, m.belowSince = true, m.now
	}
	if r.lower == nil || r.lower.epoch < a.epoch {
		r.lower = a
	}
	return &Cause{Addr: a.from.Addr, Finding: Refused, Detail: fmt.Sprintf("its epoch %d is below %d", a.epoch, m.epoch)}
}

// relation compares the node ids of an answer and the map.
type relation int

const (
	unknown   relation = iota // one of them has no ids
	same                      // at least one node is in both
	different                 // none is
)

func (m *Machine) related(r *slotsReader) relation {
	if m.current == nil {
		return unknown
	}
	ids := map[string]bool{}
	for i := range m.current.Shards {
		m.current.Shards[i].each(func(n Node) { ids[n.ID] = true })
	}
	delete(ids, "")
	found := unknown
	for i := range r.shards {
		r.shards[i].each(func(n Node) {
			switch {
			case n.ID == "" || len(ids) == 0:
			case ids[n.ID]:
				found = same
			case found == unknown:
				found = different
			}
		})
	}
	return found
}

func (s *Shard) each(do func(Node)) {
	do(s.Primary)
	for _, n := range s.Replicas {
		do(n)
	}
}

// replace accepts the answer of another cluster. The epochs of two clusters cannot be compared.
func (m *Machine) replace(a *answer) {
	clear(m.patches)
	clear(m.asked)
	clear(a.slots.unread[:])
	m.accept(a)
}

// accept makes a map from an answer. It keeps the owners of recently patched slots, and of slots whose entries cannot
// be read.
func (m *Machine) accept(a *answer) {
	m.end()
	m.epoch, m.below = a.epoch, false
	delete(m.doubts, a.from.Addr)
	next := &Map{Version: 1, Epoch: a.epoch, Shards: a.slots.shards, Owner: a.slots.owner}
	if m.current != nil {
		next.Version = m.current.Version + 1
		m.assess(a, next)
		m.keepOwners(a, next)
		m.keepAsked(next)
	}
	next.tidy(m.isAsked)
	m.forgetPatches()
	clear(m.promoted)
	m.view.Answered, m.view.AnsweredBy, m.view.NoEpoch = m.now, a.from.Addr, a.noEpoch
	if m.current == nil || !m.current.same(next) {
		m.publish(next, "CLUSTER SLOTS of "+a.from.Addr)
	}
	var err *Error
	if uncovered := m.current.Uncovered(); uncovered != "" {
		err = &Error{Uncovered: uncovered, Known: true}
	}
	m.report(err)
}

// keepOwners gives slots in next to their present owners: recently patched slots, and those whose entries in the answer
// cannot be read.
func (m *Machine) keepOwners(a *answer, next *Map) {
	for slot := range Slots {
		old := m.current.Shard(slot)
		if old == nil || next.owner(slot) == old.Primary.Addr {
			continue
		}
		patched := m.protected(slot)
		if patched {
			m.request(&m.dueOther) // one of the two is outdated
		}
		if patched || a.slots.unread[slot] {
			next.Owner[slot] = uint16(next.ensure(*old) + 1)
		}
	}
}
