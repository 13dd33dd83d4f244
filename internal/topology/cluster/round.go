package cluster

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/topology"
)

var errNoAnswer = errors.New("no answer in time")

// round queries one node after the other until an answer is accepted: primaries of the map, addresses of the seeds,
// replicas of the map.
type round struct {
	active bool
	stage  stage
	queue  []Node
	tried  map[string]bool
	flight flight

	silent  int     // number of queries without an answer in time
	kin     bool    // an answer named a node of the map
	foreign *answer // an answer of another cluster
	lower   *answer // the answer with the highest epoch, below the last accepted one
	causes  []*Cause
}

type stage int

const (
	primaries stage = iota
	seeds
	replicas
	over
)

// flight is the query or the lookup in flight.
type flight struct {
	seq    uint64 // 0: none
	lookup bool
	node   Node
	sent   time.Duration
	due    time.Duration
}

// nextRound returns the time of the next round.
func (m *Machine) nextRound() time.Duration {
	at := m.pollAt
	if m.dueMoved.set {
		at = min(at, max(m.dueMoved.at, m.queried+m.interval))
	}
	if m.dueOther.set {
		at = min(at, max(m.dueOther.at, m.queried+m.cfg.MinInterval))
	}
	return at
}

// request plans a round. Its delay is drawn once for any number of causes.
func (m *Machine) request(d *due) {
	if !d.set {
		*d = due{set: true, at: m.now + m.jitter()}
	}
}

// settle starts and continues the round.
func (m *Machine) settle() {
	for m.round.flight.seq == 0 {
		if !m.round.active {
			if m.now < m.nextRound() {
				return
			}
			m.begin()
		}
		m.advance()
	}
}

// begin starts a round. Causes that arrive from now on request the next one.
func (m *Machine) begin() {
	m.round = round{active: true, tried: map[string]bool{}}
	m.queried = m.now
	m.dueMoved, m.dueOther = due{}, due{}
	for addr, at := range m.doubts {
		if m.now-at >= m.cfg.Poll {
			delete(m.doubts, addr)
		}
	}
	m.round.queue = m.candidates(func(s *Shard) []Node { return []Node{s.Primary} }, m.fresh)
	m.fresh = nil
	m.turn++
}

// candidates returns the nodes to query: first the given ones, then others of the map in rotating order, of which
// those in doubt are last.
func (m *Machine) candidates(of func(*Shard) []Node, first []Node) []Node {
	var nodes []Node
	if m.current != nil {
		for i := range m.current.Shards {
			nodes = append(nodes, of(&m.current.Shards[i])...)
		}
	}
	if len(nodes) > 0 {
		i := m.turn % len(nodes)
		nodes = slices.Concat(first, nodes[i:], nodes[:i])
	} else {
		nodes = first
	}
	var order, doubtful []Node
	for _, n := range nodes {
		if _, doubt := m.doubts[n.Addr]; doubt {
			doubtful = append(doubtful, n)
		} else {
			order = append(order, n)
		}
	}
	order = append(order, doubtful...)
	seen := map[string]bool{}
	order = slices.DeleteFunc(order, func(n Node) bool {
		again := seen[n.Addr]
		seen[n.Addr] = true
		return again
	})
	return order[:min(len(order), maxTries)]
}

// advance sends the next query of the round, or ends it.
func (m *Machine) advance() {
	r := &m.round
	if r.stage == primaries && r.silent >= maxSilent {
		r.queue = nil
	}
	for len(r.queue) > 0 {
		n := r.queue[0]
		r.queue = r.queue[1:]
		if !r.tried[n.Addr] {
			r.tried[n.Addr] = true
			m.queried = m.now
			r.flight = m.send(false, n)
			m.do(Query{Seq: r.flight.seq, Node: n})
			return
		}
	}
	switch r.stage++; r.stage {
	case seeds:
		r.flight = m.send(true, Node{})
		m.do(Resolve{Seq: r.flight.seq})
	case replicas:
		r.queue = m.candidates(func(s *Shard) []Node { return s.Replicas }, nil)
	case over:
		m.fail()
	}
}

func (m *Machine) send(lookup bool, n Node) flight {
	return flight{seq: m.nextSeq(), lookup: lookup, node: n, sent: m.now, due: m.now + m.cfg.QueryTimeout}
}

// expire ends a query or lookup without an answer in time.
func (m *Machine) expire() {
	f := m.round.flight
	if f.seq == 0 || m.now < f.due {
		return
	}
	if f.lookup {
		m.resolved(Resolved{Seq: f.seq, Err: errNoAnswer})
		return
	}
	m.round.silent++
	m.answered(Answer{Seq: f.seq, Err: errNoAnswer})
}

// resolved queues the addresses of the seeds.
func (m *Machine) resolved(e Resolved) {
	r := &m.round
	if e.Seq == 0 || r.flight.seq != e.Seq || !r.flight.lookup {
		return
	}
	r.flight = flight{}
	if e.Err != nil || len(e.Nodes) == 0 {
		c := causeOf("seeds "+strings.Join(m.cfg.Seeds, ", "), e.Err)
		if e.Err == nil {
			c.Detail = "the names have no addresses"
		}
		r.causes = append(r.causes, c)
	}
	nodes := e.Nodes
	if len(nodes) > maxSeeds {
		i := m.turn * maxSeeds % len(nodes)
		nodes = slices.Concat(nodes[i:], nodes[:i])[:maxSeeds]
	}
	r.queue = slices.Clone(nodes)
}

// fail ends a round without an accepted answer.
func (m *Machine) fail() {
	r := m.round
	switch {
	case r.foreign != nil && !r.kin:
		m.replace(r.foreign)
		return
	case r.lower != nil && m.now-m.belowSince >= lowerAfter:
		m.accept(r.lower)
		return
	}
	m.end()
	slices.SortFunc(r.causes, func(a, b *Cause) int { return strings.Compare(a.Addr, b.Addr) })
	m.report(&Error{Known: m.current != nil, Causes: r.causes})
	m.request(&m.dueOther)
}

// end ends the round.
func (m *Machine) end() {
	m.round = round{}
	m.pollAt = m.queried + m.cfg.Poll + m.jitter()
}

// evidence processes an observation on connections to a node.
func (m *Machine) evidence(e Evidence) {
	n, ok := m.current.Node(e.Addr)
	if !ok {
		return // it left the cluster, or the first round is in progress
	}
	switch e.Kind {
	case topology.ConnLost, topology.Loading:
		m.doubts[n.Addr] = m.now
	case topology.ReadOnly:
		m.freshen(n) // it knows its new role
		fallthrough
	default:
		delete(m.doubts, n.Addr)
	}
	m.request(&m.dueOther)
}

// freshen has the next round query a node first.
func (m *Machine) freshen(n Node) {
	m.fresh = slices.DeleteFunc(m.fresh, func(other Node) bool { return other.Addr == n.Addr })
	m.fresh = slices.Insert(m.fresh, 0, n)
	m.fresh = m.fresh[:min(len(m.fresh), maxFresh)]
}
