package sentinel

import "time"

// dispute is a claim that is not newer than what was accepted last. It may come from a
// sentinel that missed a failover, from sentinels that were set up anew and count from the
// start, or tell that the primary which failed was restarted. All sentinels are asked until they tell which.
type dispute struct {
	addr   string
	wait   time.Duration // how long most of them have to stand by it
	since  time.Duration
	begun  time.Duration // of the round
	nextAt time.Duration // of the next round; 0 while one is under way
}

func (m *Machine) disputed(info masterInfo, wait time.Duration) {
	if m.dispute == nil || m.dispute.addr != info.addr && m.dispute.wait > wait {
		m.dispute = &dispute{addr: info.addr, wait: wait, since: m.now}
		m.disputeRound()
	}
}

func (m *Machine) disputeRound() {
	m.dispute.begun, m.dispute.nextAt = m.now, 0
	for _, p := range m.peers {
		// What was said at this very moment need not be asked again.
		if p.alias == nil && (p.said.at < m.now || p.said.finding == Untried) {
			m.look(p)
		}
	}
}

// settleDispute begins a round when it is time, and counts when one is over.
func (m *Machine) settleDispute() {
	d := m.dispute
	if d == nil {
		return
	}
	if d.nextAt != 0 {
		if m.now >= d.nextAt {
			m.disputeRound()
		}
		return
	}
	if m.wants() || m.asking[QueryMaster] > 0 {
		return
	}
	by, newer, votes, answers := m.count(d)
	switch {
	case newer || votes == 0 || d.wait > 0 && votes*2 <= answers:
		m.dispute = nil
	case m.now-d.since < d.wait || d.wait > 0 && m.known && answers*2 <= len(m.peers):
		// Few sentinels that agree among themselves don't outweigh a primary that works.
		d.nextAt = m.now + disputePause
	default:
		m.dispute = nil
		for _, p := range m.peers {
			if p.said.claims && p.said.master.addr == d.addr {
				p.said.finding, p.said.detail = Usable, p.said.master.text()
			}
		}
		m.vouch(by, by.said.master, d.wait > 0)
	}
}

// count gives how many sentinels answered in this round and how many of them stand by the claim. by
// is the one of those with the newest config epoch. newer says that a sentinel knows of a
// newer primary, which settles the matter whatever the others say.
func (m *Machine) count(d *dispute) (by *peer, newer bool, votes, answers int) {
	for _, p := range m.peers {
		if p.said.answered && p.said.at >= d.begun {
			answers++
			if p.said.claims && p.said.master.addr == d.addr {
				votes++
				if by == nil || p.said.master.epoch > by.said.master.epoch {
					by = p
				}
			}
		}
	}
	for _, p := range m.peers {
		if by != nil && p.said.at >= d.begun && p.said.claims &&
			p.said.master.addr != d.addr && p.said.master.epoch > by.said.master.epoch {
			newer = true
		}
	}
	return by, newer, votes, answers
}
