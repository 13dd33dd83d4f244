package sentinel

import "time"

// dispute is a claim that is not newer than the last accepted one. The sentinel may have missed a failover, sentinels
// may have been reinstalled and count from the start, or the failed primary was restarted. The machine queries all
// sentinels until they decide.
type dispute struct {
	addr   string
	wait   time.Duration // how long a majority must repeat the claim
	since  time.Duration
	begun  time.Duration // start of the round
	nextAt time.Duration // start of the next round; 0 while one runs
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
		// An answer of the current moment need not be repeated.
		if p.alias == nil && (p.said.at < m.now || p.said.finding == Untried) {
			m.look(p)
		}
	}
}

// settleDispute starts a round at its time, and counts the votes at its end.
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
	if m.peers.want() || m.asking[QueryMaster] > 0 {
		return
	}
	by, newer, votes, answers := d.count(m.peers)
	switch {
	case newer || votes == 0 || d.wait > 0 && votes*2 <= answers:
		m.dispute = nil
	case m.now-d.since < d.wait || d.wait > 0 && m.known && answers*2 <= len(m.peers):
		// A few sentinels that agree do not outweigh a primary that works.
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

// count returns how many sentinels answered in this round and how many of them repeat the claim. by is the one of
// these with the newest config epoch. newer: a sentinel knows a newer primary, which ends the dispute regardless of
// the others.
func (d *dispute) count(peers roster) (by *peer, newer bool, votes, answers int) {
	for _, p := range peers {
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
	for _, p := range peers {
		if by != nil && p.said.at >= d.begun && p.said.claims &&
			p.said.master.addr != d.addr && p.said.master.epoch > by.said.master.epoch {
			newer = true
		}
	}
	return by, newer, votes, answers
}
