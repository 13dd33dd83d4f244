package sentinel

import (
	"fmt"
	"slices"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/topology"
	"github.com/seed-2b0d76a6/respool/resp"
)

// answered processes the answer to a query or verification.
func (m *Machine) answered(e Answer) {
	for _, p := range m.peers {
		for q := range p.queries {
			if e.Seq != 0 && p.queries[q].seq == e.Seq {
				m.queryAnswered(p, Query(q), e)
				return
			}
		}
	}
	m.probeAnswered(e.Seq, roleOf(e))
}

func (m *Machine) queryAnswered(p *peer, q Query, e Answer) {
	if e.Err != nil {
		// Later replies on this connection cannot be assigned.
		m.do(Disconnect{Seq: p.links[Command].seq, Sentinel: p.addr, Link: Command})
		m.dropLink(p, Command, e.Err)
		return
	}
	asked := p.queries[q].at
	p.queries[q] = query{}
	m.asking[q]--
	switch q {
	case QueryMaster:
		m.masterAnswered(p, e.Reply, asked)
	case QueryReplicas:
		m.replicasAnswered(p, e.Reply)
	case QuerySentinels:
		m.sentinelsAnswered(p, e.Reply)
	case QueryID:
		m.identify(p, topology.TextOf(e.Reply))
	}
}

// masterAnswered processes a sentinel's answer about the service.
func (m *Machine) masterAnswered(p *peer, reply resp.Value, at time.Duration) {
	p.want = p.want && p.wantAt > at
	if err := topology.ErrorOf(reply); err != nil {
		m.failed(p, err)
		return
	}
	info, problem := masterOf(reply)
	if problem != "" {
		m.malformed++
		p.said = word{at: m.now, finding: NotSentinel, detail: "what it answers to SENTINEL MASTER " + problem}
		m.sweep.done(p)
		return
	}
	p.said = word{at: m.now, asked: at, finding: Usable, detail: info.text(), master: info, answered: true}
	asked := m.sweep.active && slices.Contains(m.sweep.queue, p)
	m.sweep.done(p)
	if why := info.objection(m.cfg.MinOther); why != "" {
		p.said.finding, p.said.detail = Refused, why
		if info.addr == m.primary && info.down() {
			m.lookSoon() // a failover may follow
		}
		return
	}
	p.said.claims = true
	if !m.claimed(p, info) {
		p.said.finding = Refused
		p.said.detail += fmt.Sprintf(", which is not newer than %s under %d", m.primary, m.configEpoch)
		return
	}
	if m.good(p) {
		m.promote(p)
	}
	if m.known && asked {
		m.endSweep(true)
	}
}

// objection returns the reason why a primary from this answer is unacceptable, or "".
func (info masterInfo) objection(minOther int) string {
	switch {
	case !info.has("master"):
		return fmt.Sprintf("%s is flagged %s", info.addr, info.flagText())
	case info.down():
		return fmt.Sprintf("%s is down: flagged %s", info.addr, info.flagText())
	case info.others < int64(minOther):
		return fmt.Sprintf("%s, but it knows %d other sentinels and %d are wanted", info.addr, info.others, minOther)
	}
	return ""
}

// good reports whether p names the current primary.
func (m *Machine) good(p *peer) bool {
	return p.said.finding == Usable && (!m.known || p.said.master.addr == m.primary)
}

// promote moves a usable sentinel to the front, if the front one is not usable.
func (m *Machine) promote(p *peer) {
	i := slices.Index(m.peers, p)
	if i <= 0 || m.good(m.peers[0]) {
		return
	}
	m.peers = slices.Insert(slices.Delete(m.peers, i, i+1), 0, p)
}

// claimed evaluates p's claim that info names the primary. It reports whether the claim is recent.
func (m *Machine) claimed(p *peer, info masterInfo) bool {
	same := info.addr == m.primary
	switch {
	case m.epoch == 0, info.epoch > m.configEpoch:
		before := m.epoch
		m.vouch(p, info, false)
		if m.known && m.epoch == before && !same {
			// The server would discard later writes to the old primary.
			m.lose(m.targets.at(info.addr).cause)
			m.abandoned = true
		}
	case same && m.known:
		// Earlier pushes of p are obsolete if they precede this query.
		m.targets = slices.DeleteFunc(m.targets, func(t *target) bool { return t.by == p && !t.vouched && t.since <= p.said.asked })
	case same && info.epoch == m.configEpoch && !m.abandoned:
		// It failed, and may have been replaced since and returned.
		m.disputed(info, 0)
	default:
		// Not newer than the last accepted claim: the sentinel may have missed a failover.
		m.disputed(info, disputeFor)
		return false
	}
	return true
}

func (m *Machine) sentinelsAnswered(p *peer, reply resp.Value) {
	if topology.ErrorOf(reply) != nil {
		return
	}
	list, bad := instancesOf(reply)
	m.malformed += uint64(bad)
	for _, info := range list {
		m.learn(m.cfg.MapAddr(info.addr), info.id)
	}
}

// evidence processes an observation on connections to a data node. It ignores those of another epoch.
func (m *Machine) evidence(e Evidence) {
	if e.Epoch != m.epoch || m.epoch == 0 {
		return
	}
	if m.known && e.Addr == m.cfg.MapAddr(m.primary) {
		level := 0
		if e.Kind == topology.ConnLost {
			level = 1
		}
		m.suspect(e.Kind.String(), level)
		return
	}
	m.replicas.evidence(&m.step, e.Addr)
}

// suspect queries the primary and the sentinels whether the primary is still the primary. level is the weight of the
// signs that it is unreachable; the second sign decides.
func (m *Machine) suspect(why string, level int) {
	d := &m.doubt
	d.level = max(d.level, level)
	if !d.active {
		// The answer to a query in flight may precede this observation.
		d.active, d.why = true, why
		d.probe = probe{wanted: true, retryAt: max(m.now, m.settled+m.cfg.BackoffBase)}
		m.targets.unprove(&m.step, m.primary)
	}
	m.lookNow()
}

// lose abandons the primary.
func (m *Machine) lose(why string) {
	m.known, m.abandoned, m.heldUntil = false, false, 0
	m.targets.unprove(&m.step, m.primary)
	m.doubt = doubt{}
	m.cause = why
	m.report = ""
	m.changed, m.last = m.now, why
	m.tellLost()
	m.fails = 0
	if m.sweep.active {
		m.beginSweep()
	} else {
		m.pollAt = m.now
	}
}
