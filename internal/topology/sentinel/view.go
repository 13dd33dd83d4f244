package sentinel

import (
	"slices"
	"time"
)

// View is the state of a Machine, for statistics. The caller owns it.
type View struct {
	Name        string
	Epoch       uint64 // 0 before the first primary
	Primary     string // mapped; the last known primary
	Known       bool   // Primary is the current primary
	ConfigEpoch int64  // the sentinels' config epoch under which Primary was accepted
	Replicas    []string
	LeftOut     []LeftOut
	Sentinels   []Sentinel // in order of preference
	Changed     time.Duration
	Cause       string // cause of the last change; without a primary, of its loss
	Malformed   uint64 // unreadable pushes and answers, and parts of answers
	Err         *Error // why no primary is known; nil if one is known
}

// LeftOut is a replica that is not used.
type LeftOut struct {
	Addr   string // mapped
	Reason string
}

// Sentinel is the state of one sentinel.
type Sentinel struct {
	Addr         string
	Configured   bool
	ID           string
	Command      bool // its connections are open
	Subscription bool
	Finding      Finding
	Said         string // its last answer
	At           time.Duration
}

// View returns the current state of the machine.
func (m *Machine) View() View {
	v := View{
		Name: m.cfg.Name, Epoch: m.epoch, Known: m.known, ConfigEpoch: m.configEpoch,
		Replicas: slices.Clone(m.replicas.told), Changed: m.changed, Cause: m.last, Malformed: m.malformed,
	}
	if m.epoch > 0 {
		v.Primary = m.cfg.MapAddr(m.primary)
	}
	for _, one := range m.replicas.list {
		if reason := one.reason(&m.cfg); reason != "" && one.addr != m.primary {
			v.LeftOut = append(v.LeftOut, LeftOut{Addr: m.cfg.MapAddr(one.addr), Reason: reason})
		}
	}
	for _, p := range m.peers {
		v.Sentinels = append(v.Sentinels, Sentinel{
			Addr: p.addr, Configured: p.configured, ID: p.id, Command: p.up(Command), Subscription: p.up(Subscription),
			Finding: p.said.finding, Said: p.said.detail, At: p.said.at,
		})
	}
	if !m.known {
		v.Err = m.failure()
	}
	return v
}
