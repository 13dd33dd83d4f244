package cluster

import "time"

// View is the state of a Machine, for statistics.
type View struct {
	Map        *Map          // nil before the first one
	Epoch      uint64        // of the last accepted answer
	Answered   time.Duration // time of the last accepted answer
	AnsweredBy string        // its node; empty before the first one
	NoEpoch    bool          // the node refused CLUSTER INFO: an outdated answer may count
	Changed    time.Duration // time of the last change of the map
	Cause      string        // its cause
	Patches    int           // slots that MOVED replies changed, and that no answer was compared with
	Interval   time.Duration // minimum time between queries that MOVED replies cause
	Outdated   uint64        // ignored MOVED replies of commands that were sent before the slot's last change
	Malformed  uint64        // redirects, answers and parts of answers that cannot be read
	Problem    string        // the last one of them
	Err        *Error        // content of the last Lost; nil after Found
}

// View returns the current state of the machine.
func (m *Machine) View() View {
	v := m.view
	v.Map, v.Epoch, v.Interval, v.Err = m.current, m.epoch, m.interval, m.err
	for _, p := range m.patches {
		if !p.assessed && !p.whole {
			v.Patches++
		}
	}
	return v
}
