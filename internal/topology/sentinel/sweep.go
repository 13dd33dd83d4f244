package sentinel

import (
	"slices"
	"time"
)

// sweep asks one sentinel after the other for the primary, until one is of use.
type sweep struct {
	active  bool
	queue   []*peer // not tried yet; the first reach of them may be dialed
	reach   int
	hedgeAt time.Duration // when one more is dialed, since the others take long; 0: not before something happens
	begun   time.Duration
	count   int // of polls
	turn    int // who is asked out of order next

	urgent        bool // the next one follows from news, and begins with the best sentinel
	wantSentinels bool
}

func (s *sweep) reaches(p *peer) bool {
	return s.active && slices.Contains(s.queue[:min(s.reach, len(s.queue))], p)
}

// reached reports whether the sweep wants p's command connection. While a primary is being
// verified it opens no further ones.
func (m *Machine) reached(p *peer) bool {
	return m.sweep.reaches(p) && (p.links[Command].seq != 0 || !m.verifying())
}

// current reports whether p is the one to be asked next.
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

// done takes p off the queue: it has answered, or failed.
func (s *sweep) done(p *peer) {
	i := slices.Index(s.queue, p)
	if i < 0 {
		return
	}
	s.queue = slices.Delete(s.queue, i, i+1)
	s.reach, s.hedgeAt = max(1, s.reach-1), 0
}

// lookNow begins a sweep as soon as that is decent after the one before.
func (m *Machine) lookNow() {
	if !m.sweep.active {
		m.pollAt = min(m.pollAt, max(m.now, m.sweep.begun+m.cfg.BackoffBase))
		m.sweep.urgent = true
	}
}

// lookSoon begins a sweep after a pause.
func (m *Machine) lookSoon() {
	if !m.sweep.active {
		m.pollAt = min(m.pollAt, m.now+m.pause(m.fails))
	}
}

// beginSweep lines the sentinels up. While all is well every second sweep begins with
// another one, so that a sentinel that lags behind the others is found out.
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

// settleSweep begins, widens and ends the sweep.
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
		if m.asking[QueryMaster] == 0 && !m.verifying() && !m.wants() {
			m.endSweep(false)
		}
		return
	}
	for _, p := range s.queue[:min(s.reach, len(s.queue))] {
		if p.up(Command) || p.links[Command].seq == 0 {
			s.hedgeAt = 0
			return // it is being asked, or is about to be dialed
		}
	}
	if s.hedgeAt == 0 {
		s.hedgeAt = m.now + m.cfg.QueryTimeout/4
	} else if m.now >= s.hedgeAt && s.reach < len(s.queue) {
		s.reach++
		s.hedgeAt = 0
	}
}

// wants reports whether a sentinel is still to be asked outside of the sweep.
func (m *Machine) wants() bool {
	return slices.ContainsFunc(m.peers, func(p *peer) bool { return p.want })
}

// endSweep decides when the next one begins. A sweep without use while no primary is
// known brings a report to those who wait.
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

// tellLost gives the report out, unless it says what the last one said.
func (m *Machine) tellLost() {
	err := m.failure()
	if text := err.Error(); text != m.report {
		m.report = text
		m.do(Lost{Epoch: m.epoch, Err: err})
	}
}

// failure reports what is known of each sentinel.
func (m *Machine) failure() *Error {
	err := &Error{Name: m.cfg.Name, Reason: m.cause}
	for _, p := range m.peers {
		c := &Cause{Sentinel: p.addr, Finding: p.said.finding, Detail: p.said.detail, Err: p.said.err}
		if p.said.finding == Usable {
			if t := m.targetAt(p.said.master.addr); t != nil && t.role != "" {
				c.Detail += ", which " + t.role
			}
		}
		err.Causes = append(err.Causes, c)
	}
	return err
}
