package monitor

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/seed-2b0d76a6/respool"
)

// View is the input of the rules.
type View struct {
	*State
	Pools    map[string]PoolView // pools of this process, by name; nil: none
	Ceilings map[string]int64    // planned maximum connections by service; nil: no plan
	Reserve  int64               // connections that the plan reserves
	Pages    string              // URL of the pages of this process, whose connections still work while a server is full; empty: none
	Socket   string              // URL of its Unix socket, for respool kill; empty: none
}

// PoolView is a pool at two moments.
type PoolView struct {
	Before, Now respool.Stats
	Between     time.Duration
}

// Alert is a finding that lasted. It is sent when it fires, and again when it is resolved.
type Alert struct {
	Finding
	State    AlertState `json:"state"`
	Began    time.Time  `json:"began"`              // first detection
	Fired    time.Time  `json:"fired,omitzero"`     // when it had lasted for Rule.For
	Resolved time.Time  `json:"resolved,omitzero"`  // when it was resolved
	Service  string     `json:"service,omitempty"`  // the name of the service at the sentinels
	Instance string     `json:"instance,omitempty"` // the monitor that sent the alert
}

// ID returns the identity of an alert. No two open alerts have the same.
func (a *Alert) ID() string { return fmt.Sprintf("%s/%s/%s", a.Rule, a.Node, a.Subject) }

// AlertState is the state of an alert.
type AlertState int

// The states of an alert.
const (
	Pending  AlertState = iota // seen, but not for long enough
	Firing                     // lasted for long enough, and is not resolved
	Resolved                   // no longer seen
)

var alertStates = []string{"pending", "firing", "resolved"}

// String returns the state in one word.
func (s AlertState) String() string { return alertStates[s] }

// MarshalText returns the word of String.
func (s AlertState) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads the word of String.
func (s *AlertState) UnmarshalText(text []byte) error {
	for i, name := range alertStates {
		if name == string(text) {
			*s = AlertState(i)
			return nil
		}
	}
	return fmt.Errorf("monitor: %.40q is not the state of an alert: want pending, firing or resolved", text)
}

// Judge converts findings to alerts. An alert fires after its finding has lasted, and is resolved
// after the finding has ended. The only clock is the time of the views. A Judge is not safe for
// concurrent use.
type Judge struct {
	rules    []Rule
	open     map[string]*open
	resolved []Alert // the last resolved alerts, oldest first
}

// open is a pending or firing alert.
type open struct {
	alert Alert
	gone  time.Time // first view without it; zero: it is present
	seen  bool      // present in the current view
}

const resolvedKept = 100

// NewJudge returns a judge with the given rules. nil means DefaultRules. It returns an error that
// names the first invalid rule.
func NewJudge(rules []Rule) (*Judge, error) {
	if rules == nil {
		rules = DefaultRules()
	}
	for _, r := range rules {
		if err := r.check(); err != nil {
			return nil, err
		}
	}
	return &Judge{rules: slices.Clone(rules), open: map[string]*open{}}, nil
}

// Look applies the rules to a view, and returns the alerts that began to fire or were resolved. The
// caller sends these. Views must be in the order of their times.
func (j *Judge) Look(v *View) (changed []Alert) {
	for _, o := range j.open {
		o.seen = false
	}
	for i := range j.rules {
		changed = append(changed, j.judge(&j.rules[i], v)...)
	}
	for id, o := range j.open {
		if o.seen || j.unknown(o, v) {
			continue
		}
		if o.gone.IsZero() {
			o.gone = v.At
		}
		rule := j.rule(o.alert.Rule)
		if o.alert.State == Firing && rule != nil && v.At.Sub(o.gone) < rule.Keep {
			continue
		}
		delete(j.open, id)
		if o.alert.State == Firing {
			changed = append(changed, j.resolve(o, v.At))
		}
	}
	slices.SortFunc(changed, func(a, b Alert) int {
		return cmp.Or(cmp.Compare(b.State, a.State), cmp.Compare(b.Severity, a.Severity), cmp.Compare(a.ID(), b.ID()))
	})
	return changed
}

// judge applies one rule.
func (j *Judge) judge(r *Rule, v *View) (fired []Alert) {
	kind := kindOf(r.Name)
	for _, f := range kind.find(v, r.Limit) {
		alert := Alert{Finding: f, Service: v.Service, Began: v.At}
		alert.Rule, alert.Severity = r.Name, r.Severity
		o := j.open[alert.ID()]
		if o == nil {
			o = &open{alert: alert}
			j.open[alert.ID()] = o
		}
		o.see(alert)
		if o.alert.State == Pending && v.At.Sub(o.alert.Began) >= r.For {
			o.alert.State, o.alert.Fired = Firing, v.At
			fired = append(fired, o.alert)
		}
	}
	// A firing alert continues until its value passes the calm limit.
	for _, f := range kind.find(v, kind.calm(r.Limit)) {
		alert := Alert{Finding: f}
		alert.Rule, alert.Severity = r.Name, r.Severity
		if o := j.open[alert.ID()]; o != nil && !o.seen && o.alert.State == Firing {
			o.see(alert)
		}
	}
	return fired
}

// see updates the alert.
func (o *open) see(now Alert) {
	o.seen, o.gone = true, time.Time{}
	o.alert.Finding = now.Finding
}

// unknown reports whether the state of an alert is unknown, because its server does not answer, or no node reports the
// cluster.
func (j *Judge) unknown(o *open, v *View) bool {
	if o.alert.State == Firing && v.Cluster != nil && !v.Cluster.Known() && (o.alert.Rule == "slots" || o.alert.Rule == "no-replica") {
		return true
	}
	if o.alert.Node == "" || o.alert.State != Firing {
		return false
	}
	n := v.Node(o.alert.Node)
	return n != nil && !n.Up && o.alert.Rule != "down" && o.alert.Rule != "full"
}

func (j *Judge) rule(name string) *Rule {
	for i := range j.rules {
		if j.rules[i].Name == name {
			return &j.rules[i]
		}
	}
	return nil
}

func (j *Judge) resolve(o *open, at time.Time) Alert {
	o.alert.State, o.alert.Resolved = Resolved, at
	if len(j.resolved) == resolvedKept {
		j.resolved = slices.Delete(j.resolved, 0, 1)
	}
	j.resolved = append(j.resolved, o.alert)
	return o.alert
}

// Alerts returns the firing alerts, then the pending ones, then the last hundred resolved ones,
// each sorted by severity and then by time, the latest first. The caller owns the list.
func (j *Judge) Alerts() []Alert {
	list := slices.Clone(j.resolved)
	for _, o := range j.open {
		list = append(list, o.alert)
	}
	order := map[AlertState]int{Firing: 0, Pending: 1, Resolved: 2}
	slices.SortFunc(list, func(a, b Alert) int {
		return cmp.Or(cmp.Compare(order[a.State], order[b.State]), cmp.Compare(b.Severity, a.Severity),
			b.Began.Compare(a.Began), cmp.Compare(a.ID(), b.ID()))
	})
	return list
}

// Adopt takes over the open alerts of another judge whose rules this judge has too, so that a
// change of rules sends no alert twice. It returns the alerts of removed rules as resolved.
func (j *Judge) Adopt(other *Judge, at time.Time) (changed []Alert) {
	j.resolved = other.resolved
	for id, o := range other.open {
		if j.rule(o.alert.Rule) != nil {
			j.open[id] = o
		} else if o.alert.State == Firing {
			changed = append(changed, j.resolve(o, at))
		}
	}
	return changed
}
