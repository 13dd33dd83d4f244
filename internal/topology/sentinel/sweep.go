package sentinel

import (
	"slices"
	"time"
)

// sweep queries one sentinel after the other for the primary, until one is usable.
type sweep struct {
	active  bool
	queue   []*peer // not queried yet; the first reach of them may be dialed
	reach   int
	hedgeAt time.Duration // time of one more dial if the others take long; 0: none planned
	begun   time.Duration
	count   int // of polls
	turn    int // index of the next sentinel that is queried out of order

	urgent        bool // the next sweep follows news, and begins with the best sentinel
	wantSentinels bool
}

func (s *sweep) reaches(p *peer) bool {
	return s.active && slices.Contains(s.queue[:min(s.reach, len(s.queue))], p)
}

// reached reports whether the sweep needs p's command connection. While a primary is being verified, it opens no
// further ones.
func (m *Machine) reached(p *peer) bool {
	return m.sweep.reaches(p) && (p.links[Command].seq != 0 || !m.targets.verifying())
}

// current reports whether p is the next one to query.
func (s *sweep) current(p *peer) bool {
	if !s.active {
		return false
	}
	for _, q := range s.queue[:min(s.reach, len(s.queue))] {
		if q.up(Command) {
			return q == p
		}
	}
	return false
}

// done removes p from the queue after its answer or failure.
func (s *sweep) done(p *peer) {
	i := slices.Index(s.queue, p)
	if i < 0 {
		return
	}
	s.queue = slices.Delete(s.queue, i, i+1)
	s.reach, s.hedgeAt = max(1, s.reach-1), 0
}

// lookNow starts a sweep as soon as the minimum interval allows.
func (m *Machine) lookNow() {
	if !m.sweep.active {
		m.pollAt = min(m.pollAt, max(m.now, m.sweep.begun+m.cfg.BackoffBase))
		m.sweep.urgent = true
	}
}

// lookSoon starts a sweep after a pause.
func (m *Machine) lookSoon() {
	if !m.sweep.active {
		m.pollAt = min(m.pollAt, m.now+m.pause(m.fails))
	}
}

// beginSweep fills the queue. While all is well, every second sweep begins with another sentinel, which detects a
// sentinel with outdated answers.
func (m *Machine) beginSweep() {
	s := &m.sweep
	urgent := s.urgent
	*s = sweep{active: true, reach: 1, begun: m.now, count: s.count, turn: s.turn, wantSentinels: s.wantSentinels}
	for _, p := range m.peers {
		if !p.hidden() {
			s.queue = append(s.queue, p)
		}
		p.links[Command].retryAt = 0
	}
	if urgent {
		return
	}
	if s.count++; m.known && s.count%2 == 0 && len(s.queue) > 1 {
		i := 1 + s.turn%(len(s.queue)-1)
		other := s.queue[i]
		s.queue = slices.Insert(slices.Delete(s.queue, i, i+1), 0, other)
		s.turn++
	}
}

// settleSweep starts, widens and ends the sweep.
func (m *Machine) settleSweep() {
	s := &m.sweep
	if !s.active {
		if m.now < m.pollAt {
			return
		}
		m.beginSweep()
	}
	for _, p := range m.peers {
		if p.hidden() {
			p.want = false
			s.done(p)
		}
	}
	if len(s.queue) == 0 {
		if m.asking[QueryMaster] == 0 && !m.targets.verifying() && !m.peers.want() {
			m.endSweep(false)
		}
		return
	}
	for _, p := range s.queue[:min(s.reach, len(s.queue))] {
		if p.up(Command) || p.links[Command].seq == 0 {
			s.hedgeAt = 0
			return // its query or dial is in flight or follows
		}
	}
	if s.hedgeAt == 0 {
		s.hedgeAt = m.now + m.cfg.QueryTimeout/4
	} else if m.now >= s.hedgeAt && s.reach < len(s.queue) {
		s.reach++
		s.hedgeAt = 0
	}
}

// endSweep sets the time of the next sweep. After a sweep without a usable sentinel, while no primary is known, it
// reports the failure.
func (m *Machine) endSweep(used bool) {
	m.sweep.active, m.sweep.queue, m.sweep.hedgeAt = false, nil, 0
	if used {
		m.fails = 0
		m.pollAt = m.now + m.pollPause()
		m.sweep.wantSentinels = true
		m.replicas.want = true
		return
	}
	m.pollAt = m.now + m.pause(m.fails)
	m.fails++
	if !m.known {
		m.tellLost()
	}
}

// tellLost emits a Lost, unless its report equals the last one.
func (m *Machine) tellLost() {
	err := m.failure()
	if text := err.Error(); text != m.report {
		m.report = text
		m.do(Lost{Epoch: m.epoch, Err: err})
	}
}

// failure returns the state of each sentinel as an error.
func (m *Machine) failure() *Error {
	err := &Error{Name: m.cfg.Name, Reason: m.cause}
	for _, p := range m.peers {
		c := &Cause{Sentinel: p.addr, Finding: p.said.finding, Detail: p.said.detail, Err: p.said.err}
		if p.said.finding == Usable {
			if t := m.targets.at(p.said.master.addr); t != nil && t.role != "" {
				c.Detail += ", which " + t.role
			}
		}
		err.Causes = append(err.Causes, c)
	}
	return err
}
