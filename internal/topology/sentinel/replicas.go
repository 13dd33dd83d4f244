package sentinel

import (
	"slices"
	"strings"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/topology"
	"github.com/seed-2b0d76a6/respool/internal/topology/replica"
	"github.com/seed-2b0d76a6/respool/resp"
)

// maxHurry is the maximum number of early queries for replicas after a report that a link between nodes is broken.
// Sentinels update its state only every 10 s.
const maxHurry = 15

// candidate is one node that a sentinel reports as a replica.
type candidate struct {
	addr    string
	problem string // why the sentinel's answer excludes it

	probe  probe
	health replica.Health // according to its own answers
}

// replicas is the state of the service's replicas.
type replicas struct {
	list      []*candidate // sorted by address
	want      bool         // a REPLICAS query is needed
	notBefore time.Duration
	hurry     int
	nextLag   time.Duration // time of the next query for offsets; 0: never
	offsets   replica.Offsets
	told      []string // the replicas that the driver knows
}

func (r *replicas) times() []time.Duration {
	times := []time.Duration{r.nextLag}
	if r.want {
		times = append(times, r.notBefore)
	}
	for _, one := range r.list {
		times = append(times, one.probe.time())
	}
	return times
}

// replicasAnswered processes a sentinel's list. After an error nothing changes.
func (m *Machine) replicasAnswered(p *peer, reply resp.Value) {
	if topology.ErrorOf(reply) != nil {
		return
	}
	infos, bad := instancesOf(reply)
	m.malformed += uint64(bad)
	r := &m.replicas
	old := r.list
	r.list = nil
	broken := false
	for _, info := range infos {
		if slices.ContainsFunc(r.list, func(one *candidate) bool { return one.addr == info.addr }) || len(r.list) >= maxReplicas {
			continue
		}
		one := &candidate{addr: info.addr}
		if i := slices.IndexFunc(old, func(one *candidate) bool { return one.addr == info.addr }); i >= 0 {
			one = old[i]
		}
		one.problem = info.replicaProblem()
		broken = broken || one.problem != ""
		r.list = append(r.list, one)
	}
	slices.SortFunc(r.list, func(a, b *candidate) int { return strings.Compare(a.addr, b.addr) })
	if !broken {
		r.hurry = 0
	} else if r.hurry < maxHurry {
		r.want, r.notBefore = true, m.now+m.pause(r.hurry)
		r.hurry++
	}
	if m.cfg.MaxReplicaLag > 0 && len(old) == 0 {
		r.nextLag = m.now
	}
}

// refresh requests the list again, after news about a replica.
func (r *replicas) refresh(now time.Duration) {
	if !r.want {
		r.want, r.notBefore = true, max(now, r.notBefore)
	}
	r.hurry = 0
}

// evidence excludes a replica until it answers that it is healthy.
func (r *replicas) evidence(s *step, addr string) {
	for _, one := range r.list {
		if s.cfg.MapAddr(one.addr) == addr && one.health.Doubt() {
			one.probe = probe{wanted: true, retryAt: s.now}
			r.refresh(s.now)
		}
	}
}

// probeReplicas queries the replicas at their times. For the lag it queries all at once, including the primary, so
// that their offsets are comparable.
func (m *Machine) probeReplicas() {
	r := &m.replicas
	if r.nextLag != 0 && m.now >= r.nextLag {
		r.nextLag = m.now + min(m.cfg.Poll, max(m.cfg.MaxReplicaLag/2, 100*time.Millisecond))
		if m.known && !m.doubt.probe.wanted {
			m.doubt.probe = probe{wanted: true, retryAt: m.now}
			m.probePrimary()
		}
		for _, one := range r.list {
			if !one.probe.wanted {
				one.probe = probe{wanted: true, retryAt: m.now}
			}
		}
	}
	for _, one := range r.list {
		if one.addr != m.primary {
			m.probe(&one.probe, one.addr)
		}
	}
}

// answered processes a replica's own answer. One that is not a master contradicts the target at the same address.
func (r *replicas) answered(s *step, seq uint64, role replica.Role, targets targets) {
	for _, one := range r.list {
		if one.probe.seq != seq {
			continue
		}
		fails := one.probe.fails
		one.probe = probe{}
		if !role.Is("master") {
			targets.unprove(s, one.addr)
		}
		one.health.Answered(role, r.offsets.Lag(s.now, role.Offset), s.cfg.MaxReplicaLag)
		if one.health.Doubted() {
			one.probe = probe{wanted: true, fails: fails + 1, retryAt: s.now + s.pause(fails)}
		}
		return
	}
}

// sample records the primary's offset.
func (r *replicas) sample(now time.Duration, offset int64) {
	if r.nextLag != 0 {
		r.offsets.Add(now, offset)
	}
}

// reason returns the reason why a replica is excluded, or "".
func (c *candidate) reason(cfg *Config) string {
	if c.problem != "" {
		return c.problem
	}
	return c.health.Reason(cfg.MaxReplicaLag > 0)
}

// usable returns the usable replicas. A node is not both primary and replica.
func (r *replicas) usable(cfg *Config, primary string) []string {
	var list []string
	for _, one := range r.list {
		if addr := cfg.MapAddr(one.addr); one.addr != primary && one.reason(cfg) == "" && !slices.Contains(list, addr) {
			list = append(list, addr)
		}
	}
	return list
}

// newPrimary resets the replicas for a new epoch.
func (r *replicas) newPrimary(s *step, primary string) {
	r.offsets = replica.Offsets{}
	r.hurry = 0
	r.notBefore = s.now
	r.told = r.usable(&s.cfg, primary)
}

func (m *Machine) tellReplicas() {
	if m.epoch == 0 {
		return
	}
	if now := m.replicas.usable(&m.cfg, m.primary); !slices.Equal(now, m.replicas.told) {
		m.replicas.told = now
		m.do(ReplicasChanged{Epoch: m.epoch, Replicas: slices.Clone(now)})
	}
}
