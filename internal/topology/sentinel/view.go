package sentinel

import (
	"slices"
	"time"
)

// View is what a Machine believes, for statistics. It is the caller's own.
type View struct {
	Name        string
	Epoch       uint64 // 0 before the first primary
	Primary     string // mapped; the last one if none is known now
	Known       bool   // whether Primary is believed to be primary now
	ConfigEpoch int64  // the sentinels' own count, under which Primary was accepted
	Replicas    []string
	LeftOut     []LeftOut
	Sentinels   []Sentinel // in the order in which they are tried
	Changed     time.Duration
	Cause       string // of the last change; why it was given up if none is known now
	Malformed   uint64 // pushes and answers, and parts of answers, that could not be read
	Err         *Error // why no primary is known; nil if one is
}

// LeftOut is a replica that is not used.
type LeftOut struct {
	Addr   string // mapped
	Reason string
}

// Sentinel is what is known of one sentinel.
type Sentinel struct {
	Addr         string
	Configured   bool
	ID           string
	Command      bool // whether its connections are up
	Subscription bool
	Finding      Finding
	Said         string // what it said last
	At           time.Duration
}

// View gives what the machine believes now.
func (m *Machine) View() View {
	v := View{
		Name: m.cfg.Name, Epoch: m.epoch, Known: m.known, ConfigEpoch: m.configEpoch,
		Replicas: slices.Clone(m.replicas.told), Changed: m.changed, Cause: m.last, Malformed: m.malformed,
	}
	if m.epoch > 0 {
		v.Primary = m.cfg.MapAddr(m.primary)
	}
	for _, one := range m.replicas.list {
		if reason := m.reason(one); reason != "" && one.addr != m.primary {
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
