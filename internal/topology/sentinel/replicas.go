package sentinel

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/seed-2b0d76a6/respool/resp"
)

// maxHurry is the maximum number of early queries for replicas after a report that a link between nodes is broken.
// Sentinels update its state only every 10 s.
const maxHurry = 15

// replica is one node that a sentinel reports as a replica.
type replica struct {
	addr    string
	problem string // why the sentinel's answer excludes it

	probe   probe
	doubted bool   // its own answer is needed too
	asked   bool   // its own answer has arrived
	trouble string // why its own answer excludes it
}

type sample struct {
	at     time.Duration
	offset int64
}

// replicas is the state of the service's replicas.
type replicas struct {
	list      []*replica // sorted by address
	want      bool       // a REPLICAS query is needed
	notBefore time.Duration
	hurry     int
	nextLag   time.Duration // time of the next query for offsets; 0: never
	samples   []sample      // the primary's offset at each observed increase
	told      []string      // the replicas that the driver knows
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
	if errorOf(reply) != nil {
		return
	}
	infos, bad := instancesOf(reply)
	m.malformed += uint64(bad)
	r := &m.replicas
	old := r.list
	r.list = nil
	broken := false
	for _, info := range infos {
		if slices.ContainsFunc(r.list, func(one *replica) bool { return one.addr == info.addr }) || len(r.list) >= maxReplicas {
			continue
		}
		one := &replica{addr: info.addr}
		if i := slices.IndexFunc(old, func(one *replica) bool { return one.addr == info.addr }); i >= 0 {
			one = old[i]
		}
		one.problem = info.replicaProblem()
		broken = broken || one.problem != ""
		r.list = append(r.list, one)
	}
	slices.SortFunc(r.list, func(a, b *replica) int { return strings.Compare(a.addr, b.addr) })
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
func (r *replicas) refresh(m *Machine) {
	if !r.want {
		r.want, r.notBefore = true, max(m.now, r.notBefore)
	}
	r.hurry = 0
}

// evidence excludes a replica until it answers that it is healthy.
func (r *replicas) evidence(m *Machine, addr string) {
	for _, one := range r.list {
		if m.cfg.MapAddr(one.addr) == addr && !one.doubted {
			one.doubted, one.asked = true, false
			one.probe = probe{wanted: true, retryAt: m.now}
			r.refresh(m)
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
			m.probeNow(&one.probe, one.addr)
		}
	}
}

// answered processes a replica's own answer.
func (r *replicas) answered(m *Machine, seq uint64, role roleInfo) {
	for _, one := range r.list {
		if one.probe.seq != seq {
			continue
		}
		fails := one.probe.fails
		one.probe = probe{}
		one.asked = true
		if !role.is("master") {
			m.unprove(one.addr)
		}
		switch lag := r.lag(m.now, role.offset); {
		case !role.is("slave"):
			one.trouble = role.text()
		case role.link != "connected":
			one.trouble = "says that its link to the primary is in state " + role.link
		case m.cfg.MaxReplicaLag > 0 && lag > m.cfg.MaxReplicaLag:
			one.trouble = fmt.Sprintf("lags by %v or more", lag)
		default:
			one.trouble, one.doubted = "", false
		}
		if one.doubted {
			one.probe = probe{wanted: true, fails: fails + 1, retryAt: m.now + m.pause(fails)}
		}
		return
	}
}

// lag returns the minimum age of the oldest write that a replica at offset lacks.
func (r *replicas) lag(now time.Duration, offset int64) time.Duration {
	for _, s := range r.samples {
		if s.offset > offset {
			return now - s.at
		}
	}
	return 0
}

// sample records the primary's offset.
func (r *replicas) sample(now time.Duration, offset int64) {
	if r.nextLag == 0 || len(r.samples) > 0 && r.samples[len(r.samples)-1].offset >= offset {
		return
	}
	if len(r.samples) >= maxSamples {
		r.samples = slices.Delete(r.samples, 0, 1)
	}
	r.samples = append(r.samples, sample{now, offset})
}

// reason returns the reason why a replica is excluded, or "".
func (m *Machine) reason(one *replica) string {
	switch {
	case one.problem != "":
		return one.problem
	case !one.doubted && m.cfg.MaxReplicaLag == 0:
		return ""
	case !one.asked:
		return "has not said yet how it does"
	}
	return one.trouble
}

// usable returns the usable replicas. A node is not both primary and replica.
func (m *Machine) usable() []string {
	var list []string
	for _, one := range m.replicas.list {
		if addr := m.cfg.MapAddr(one.addr); one.addr != m.primary && m.reason(one) == "" && !slices.Contains(list, addr) {
			list = append(list, addr)
		}
	}
	return list
}

// newPrimary resets the replicas for a new epoch.
func (r *replicas) newPrimary(m *Machine) {
	r.samples = nil
	r.hurry = 0
	r.notBefore = m.now
	r.told = m.usable()
}

func (m *Machine) tellReplicas() {
	if m.epoch == 0 {
		return
	}
	if now := m.usable(); !slices.Equal(now, m.replicas.told) {
		m.replicas.told = now
		m.do(ReplicasChanged{Epoch: m.epoch, Replicas: slices.Clone(now)})
	}
}
