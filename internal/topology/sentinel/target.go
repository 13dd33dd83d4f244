package sentinel

import (
	"slices"
	"strings"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/topology/replica"
)

// probe is the ROLE query of one data node: planned, in flight, or neither.
type probe struct {
	wanted  bool
	seq     uint64 // 0: none in flight
	due     time.Duration
	retryAt time.Duration
	fails   int
}

// time returns the time at which the probe needs an action; 0: none.
func (p *probe) time() time.Duration {
	switch {
	case p.seq != 0:
		return p.due
	case p.wanted:
		return p.retryAt
	}
	return 0
}

// target is an address that may become the primary.
type target struct {
	addr  string
	probe probe
	tries int
	cause string

	by      *peer // the sentinel that reported it
	since   time.Duration
	vouched bool  // a sentinel's acceptable answer names it
	epoch   int64 // config epoch of that answer
	at      time.Duration

	isMaster bool // the node itself answered so, after the report
	masterAt time.Duration
	role     string // its other answer
}

// targets are the addresses under verification, in the order in which they were found.
type targets []*target

// at returns the target with an address, or nil.
func (l targets) at(addr string) *target {
	for _, t := range l {
		if t.addr == addr {
			return t
		}
	}
	return nil
}

// aim makes addr a target. If there are too many, it drops the oldest one.
func (l *targets) aim(s *step, addr, cause string, p *peer) *target {
	if t := l.at(addr); t != nil {
		return t
	}
	if len(*l) >= maxTargets {
		*l = slices.Delete(*l, 0, 1)
	}
	t := &target{addr: addr, cause: cause, by: p, since: s.now, probe: probe{wanted: true, retryAt: s.now}}
	*l = append(*l, t)
	return t
}

// unprove discards a node's answer that it is a master, because of contrary evidence.
func (l targets) unprove(s *step, addr string) {
	if t := l.at(addr); t != nil {
		t.isMaster = false
		t.probe = probe{wanted: true, retryAt: s.now + s.pause(t.probe.fails), fails: t.probe.fails + 1}
	}
}

// verifying reports whether the verification of a target with a sentinel's claim is in flight.
func (l targets) verifying() bool {
	return slices.ContainsFunc(l, func(t *target) bool { return t.vouched && (t.probe.seq != 0 || t.probe.fails == 0 && t.probe.wanted) })
}

// vouching reports whether p named a primary that is being verified.
func (l targets) vouching(p *peer) bool {
	return p.up(Command) && slices.ContainsFunc(l, func(t *target) bool { return t.vouched && t.by == p })
}

// announcing reports whether p announced a new primary that no answer names yet. p is queried at once, because the
// sentinel of the current query may be isolated.
func (l targets) announcing(p *peer) bool {
	return slices.ContainsFunc(l, func(t *target) bool { return !t.vouched && t.by == p })
}

// doubt is a doubt about the current primary.
type doubt struct {
	active bool
	why    string
	level  int
	probe  probe
}

// vouch records p's acceptable claim about a primary. overruled: the claim counts although it is older than the last
// accepted one.
func (m *Machine) vouch(p *peer, info masterInfo, overruled bool) {
	cause := "told by " + p.addr
	switch {
	case overruled:
		cause = "told by most sentinels"
	case m.epoch == 0:
		cause = "first discovery: " + cause
	case !m.known && !strings.HasSuffix(m.cause, cause):
		cause = m.cause + "; " + cause
	case m.doubt.active:
		cause = m.doubt.why + "; " + cause
	}
	// A newer claim makes the older ones obsolete.
	m.targets = slices.DeleteFunc(m.targets, func(t *target) bool { return t.vouched && t.epoch < info.epoch && t.addr != info.addr })
	t := m.targets.aim(&m.step, info.addr, cause, p)
	if t.vouched && t.epoch > info.epoch && !overruled {
		return
	}
	t.vouched, t.epoch, t.at, t.by = true, info.epoch, m.now, p
	if t.isMaster && m.now-t.masterAt <= m.cfg.QueryTimeout {
		m.accept(t)
		return
	}
	if t.isMaster {
		t.isMaster = false
		t.probe.wanted, t.probe.retryAt = true, m.now
	}
}

// probeTargets queries the targets at their times, and the sentinels that reported them only by push.
func (m *Machine) probeTargets() {
	for _, t := range m.targets {
		if m.probe(&t.probe, t.addr) && !t.vouched && slices.Contains(m.peers, t.by) {
			m.look(t.by)
		}
	}
}

func (m *Machine) probePrimary() {
	if m.known {
		m.probe(&m.doubt.probe, m.primary)
	}
}

// expireProbes treats silence as an answer.
func (m *Machine) expireProbes() {
	var due []uint64
	for _, p := range m.probes() {
		if p.seq != 0 && m.now >= p.due {
			due = append(due, p.seq)
		}
	}
	for _, seq := range due {
		m.probeAnswered(seq, replica.Role{Problem: errNoAnswer.Error()})
	}
}

func (m *Machine) probes() []*probe {
	all := []*probe{&m.doubt.probe}
	for _, t := range m.targets {
		all = append(all, &t.probe)
	}
	for _, r := range m.replicas.list {
		all = append(all, &r.probe)
	}
	return all
}

func (m *Machine) probeAnswered(seq uint64, role replica.Role) {
	if seq == 0 {
		return
	}
	for _, t := range m.targets {
		if t.probe.seq == seq {
			m.targetAnswered(t, role)
			return
		}
	}
	if m.doubt.probe.seq == seq {
		m.primaryAnswered(role)
		return
	}
	m.replicas.answered(&m.step, seq, role, m.targets)
}

// targetAnswered accepts a target, or plans another query.
func (m *Machine) targetAnswered(t *target, role replica.Role) {
	t.probe.seq = 0
	t.role = role.Text()
	t.tries++
	if role.Is("master") {
		t.isMaster, t.masterAt = true, m.now
		t.probe.wanted = false
		if t.vouched {
			m.accept(t)
			return
		}
	}
	if t.tries >= maxTries {
		m.targets = slices.DeleteFunc(m.targets, func(other *target) bool { return other == t })
		return
	}
	t.probe.wanted, t.probe.retryAt = true, m.now+m.pause(t.probe.fails)
	t.probe.fails++
	if !role.Is("master") {
		t.isMaster = false
	}
}

// primaryAnswered ends a doubt, or strengthens it.
func (m *Machine) primaryAnswered(role replica.Role) {
	d := &m.doubt
	switch {
	case role.Is("master"):
		*d = doubt{}
		m.settled = m.now
		m.replicas.sample(m.now, role.Offset)
		return
	case role.Kind != "" || d.level > 0:
		if d.why != "" {
			d.why += ": "
		}
		m.lose(d.why + m.primary + " " + role.Text())
		return
	}
	d.active, d.level = true, 1
	d.probe.seq = 0
	d.probe.wanted, d.probe.retryAt = true, m.now+m.pause(d.probe.fails)
	d.probe.fails++
	m.lookNow()
}

// accept begins a new epoch.
func (m *Machine) accept(t *target) {
	m.epoch++
	m.primary, m.configEpoch, m.known, m.abandoned = t.addr, t.epoch, true, false
	m.changed, m.last = m.now, t.cause
	m.cause, m.report = "", ""
	m.doubt, m.targets, m.dispute, m.heldUntil, m.holdAgain = doubt{}, nil, nil, 0, 0
	m.promote(t.by)
	m.replicas.newPrimary(&m.step, m.primary)
	m.do(NewEpoch{Epoch: m.epoch, Primary: m.cfg.MapAddr(t.addr), Replicas: slices.Clone(m.replicas.told), Cause: t.cause})
	m.endSweep(true)
	for _, p := range m.peers {
		if p.said.finding == Untried {
			m.look(p)
		}
	}
}
