package sentinel

import (
	"errors"
	"slices"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/topology"
)

var errNoAnswer = errors.New("no answer in time")

// ErrSilent is the error of a SentinelDown whose connection received nothing while a reply was pending.
var ErrSilent = errors.New("the sentinel sent nothing although a reply was due")

// peer is one sentinel.
type peer struct {
	addr       string
	configured bool // configured peers are never removed
	id         string
	identified bool  // p was queried for its id; old versions have none
	alias      *peer // the other configured address of the same sentinel, which is used instead

	links   [2]link
	queries [kinds]query
	want    bool // a MASTER query is needed regardless of the sweep
	wantAt  time.Duration
	said    word
}

// link is one connection, or the need for one.
type link struct {
	seq     uint64 // seq of the Connect; 0: none
	up      bool
	upAt    time.Duration
	due     time.Duration // time limit of the dial
	retryAt time.Duration // earliest time of the next dial
	fails   int
	checked time.Duration // time of the last Check; 0: never
}

// query is a query in flight.
type query struct {
	seq uint64 // 0: none
	at  time.Duration
	due time.Duration
}

// word is a sentinel's last answer.
type word struct {
	at      time.Duration
	finding Finding
	detail  string
	err     error

	asked    time.Duration
	answered bool       // it described the service, usable or not
	claims   bool       // it named an acceptable primary, except perhaps for its age
	master   masterInfo // valid if answered
}

func (p *peer) up(l Link) bool { return p.links[l].up }

func (p *peer) dialing(l Link) bool { return p.links[l].seq != 0 && !p.links[l].up }

// hidden reports whether the sentinel is used under its other address.
func (p *peer) hidden() bool { return p.alias != nil && p.alias.said.finding != Unreachable }

func (p *peer) asked() bool {
	for _, q := range p.queries {
		if q.seq != 0 {
			return true
		}
	}
	return false
}

// times returns the times at which p needs an action.
func (m *Machine) times(p *peer) []time.Duration {
	var times []time.Duration
	for l, link := range p.links {
		switch {
		case link.seq == 0 && m.wanted(p, Link(l)):
			times = append(times, link.retryAt)
		case link.seq != 0 && !link.up:
			times = append(times, link.due)
		}
	}
	for _, q := range p.queries {
		if q.seq != 0 {
			times = append(times, q.at+m.doubtAfter(), q.due)
		}
	}
	return times
}

func (m *Machine) linkUp(e SentinelUp) {
	p, l := m.peers.linkOf(e.Seq)
	if p == nil || p.links[l].up {
		return
	}
	p.links[l].up, p.links[l].upAt = true, m.now
	if l == Subscription {
		// Pushes before this connection were missed.
		m.do(Subscribe{Seq: e.Seq, Sentinel: p.addr, Channels: slices.Clone(channels)})
		m.look(p)
	}
}

// look requests a query of p for the primary, even if one is in flight: its answer may be outdated.
func (m *Machine) look(p *peer) {
	if p.hidden() {
		p = p.alias
	}
	p.want, p.wantAt = true, m.now
}

func (m *Machine) linkDown(e SentinelDown) {
	p, l := m.peers.linkOf(e.Seq)
	if p == nil {
		return
	}
	m.dropLink(p, l, e.Err)
}

// dropLink records the loss of a link and its consequences for p.
func (m *Machine) dropLink(p *peer, l Link, err error) {
	link := &p.links[l]
	idle := link.up && l == Command && !p.asked()
	dialed := !link.up
	*link = link.failed(&m.step)
	if l == Subscription {
		if dialed && p.links[Command].seq == 0 {
			p.note(m.now, err)
		}
		if errors.Is(err, ErrSilent) {
			m.peers.checkSubscriptions(&m.step)
		}
		return // else the command connection decides about p
	}
	m.forgetQueries(p)
	if idle && !p.want && !m.sweep.reaches(p) {
		// Without a query in flight, it may only have closed an idle connection. One query shows that, soon but not
		// at the same moment as those of all other clients.
		m.lookSoon()
		return
	}
	m.failed(p, err)
}

// failed returns the link after its loss. A link that was up for a while restarts its pauses. A link that ends at
// once counts as a failed dial.
func (l *link) failed(s *step) link {
	if l.up && s.now-l.upAt >= s.cfg.BackoffCap {
		l.fails = 0
	}
	return link{retryAt: s.now + s.pause(l.fails), fails: l.fails + 1}
}

// failed records a failed dial of p, or a failed query.
func (m *Machine) failed(p *peer, err error) {
	p.note(m.now, err)
	p.want = false
	m.sweep.done(p)
}

// note records a failure as the last answer.
func (p *peer) note(now time.Duration, err error) {
	finding, detail := findingOf(err)
	p.said = word{at: now, finding: finding, detail: detail, err: topology.LocalError(err)}
}

func (m *Machine) forgetQueries(p *peer) {
	for q := range p.queries {
		if p.queries[q].seq != 0 {
			m.asking[q]--
			p.queries[q] = query{}
			m.again(Query(q))
		}
	}
}

// again requests a query again that had no answer.
func (m *Machine) again(q Query) {
	switch q {
	case QueryReplicas:
		m.replicas.want = true
	case QuerySentinels:
		m.sweep.wantSentinels = true
	}
}

// cut closes a link.
func (m *Machine) cut(p *peer, l Link) {
	link := &p.links[l]
	if link.seq == 0 {
		return
	}
	m.do(Disconnect{Seq: link.seq, Sentinel: p.addr, Link: l})
	if l == Command {
		m.forgetQueries(p)
	}
	*link = p.links[l].closed()
}

func (l *link) closed() link { return link{retryAt: l.retryAt, fails: l.fails} }

// expire ends queries without an answer in time. It closes the connection as well, because a late answer would be
// taken for that of the next query.
func (m *Machine) expire() {
	for _, p := range m.peers {
		for l := range p.links {
			if p.dialing(Link(l)) && m.now >= p.links[l].due {
				m.do(Disconnect{Seq: p.links[l].seq, Sentinel: p.addr, Link: Link(l)})
				m.dropLink(p, Link(l), errNoAnswer)
			}
		}
		for _, q := range p.queries {
			if q.seq != 0 && m.now >= q.at+m.doubtAfter() {
				m.peers.checkSubscriptions(&m.step)
			}
			if q.seq != 0 && m.now >= q.due {
				m.do(Disconnect{Seq: p.links[Command].seq, Sentinel: p.addr, Link: Command, Silent: true})
				m.dropLink(p, Command, errNoAnswer)
				break
			}
		}
	}
	m.expireProbes()
}

// settleLinks opens the needed links and closes the others.
func (m *Machine) settleLinks() {
	for _, p := range m.peers {
		for l := range p.links {
			link, wanted := &p.links[l], m.wanted(p, Link(l))
			switch {
			case !wanted:
				m.cut(p, Link(l))
			case link.seq == 0 && m.now >= link.retryAt:
				link.seq, link.due = m.nextSeq(), m.now+m.cfg.QueryTimeout
				m.do(Connect{Seq: link.seq, Sentinel: p.addr, Link: Link(l)})
			}
		}
	}
}

func (m *Machine) wanted(p *peer, l Link) bool {
	if p.hidden() {
		return false
	}
	if !p.configured && m.peers.unsettled() && !m.reached(p) {
		return false
	}
	if l == Command {
		unidentified := p.up(Command) && !p.identified && p.said.answered
		if !m.known && p.up(Command) && p.said.answered {
			return true // it will be queried again soon
		}
		return p.want || p.asked() || unidentified || m.reached(p) || m.targets.vouching(p) || p == m.front()
	}
	// It knows the service, or did. Until its id is known, a second connection to it could be a third one.
	return p.identified && (p.said.answered || p.said.finding == Unreachable)
}

// front returns the sentinel whose command connection stays open: the first in order, if it is usable.
func (m *Machine) front() *peer {
	for _, p := range m.peers {
		if m.good(p) && p.links[Command].seq != 0 {
			return p
		}
	}
	return nil
}

// settleQueries sends the needed queries, as far as connections and other queries allow.
func (m *Machine) settleQueries() {
	for _, p := range m.peers {
		if !p.up(Command) {
			continue
		}
		if (p.want || m.sweep.current(p) && !m.targets.verifying()) && (m.asking[QueryMaster] == 0 || m.dispute != nil || m.targets.announcing(p)) {
			m.ask(p, QueryMaster)
		}
		if !p.identified && m.asking[QueryID] == 0 {
			m.ask(p, QueryID)
		}
	}
	front := m.front()
	if front == nil || !front.up(Command) {
		return
	}
	if m.replicas.want && m.cfg.Replicas && m.asking[QueryReplicas] == 0 && m.now >= m.replicas.notBefore {
		m.replicas.want = false
		m.ask(front, QueryReplicas)
	}
	if m.sweep.wantSentinels && m.asking[QuerySentinels] == 0 {
		m.sweep.wantSentinels = false
		m.ask(front, QuerySentinels)
	}
}

func (m *Machine) ask(p *peer, q Query) {
	if p.queries[q].seq != 0 {
		return
	}
	p.queries[q] = query{seq: m.nextSeq(), at: m.now, due: m.now + m.cfg.QueryTimeout}
	m.asking[q]++
	m.do(Ask{Seq: p.queries[q].seq, Sentinel: p.addr, Query: q, Args: q.args(m.cfg.Name)})
}

// learn adds a sentinel that another one reported.
func (m *Machine) learn(addr, id string) {
	if m.peers.knows(addr, id) {
		return
	}
	if len(m.peers) >= maxSentinels {
		old := m.peers.evictable()
		if old == nil {
			return
		}
		m.remove(old)
	}
	m.peers = append(m.peers, &peer{addr: addr, id: id})
	m.look(m.peers[len(m.peers)-1])
}

// identify records p's own id and removes a learned address of the same sentinel.
func (m *Machine) identify(p *peer, id string) {
	p.identified = true
	if id == "" {
		return
	}
	p.id = id
	for _, other := range slices.Clone(m.peers) {
		switch {
		case other == p || other.id != id:
		case !other.configured:
			m.remove(other)
		case !p.configured:
			m.remove(p)
			return
		case other.alias == nil:
			p.alias = other
			m.sweep.done(p)
			p.want = false
		}
	}
}

func (m *Machine) remove(p *peer) {
	m.cut(p, Command)
	m.cut(p, Subscription)
	m.sweep.done(p)
	m.peers.remove(p)
}
