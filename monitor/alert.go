package monitor

import (
	"fmt"
	"time"
)

// Alert is a finding that is told to somebody when it has lasted, and again
// when it is over.
type Alert struct {
	Finding
	Node     string     `json:"node,omitempty"` // the server's address; empty: no single one
	State    AlertState `json:"state"`
	Began    time.Time  `json:"began"`              // when it was seen first
	Fired    time.Time  `json:"fired,omitzero"`     // when it had lasted for long enough
	Resolved time.Time  `json:"resolved,omitzero"`  // when it was over
	Service  string     `json:"service,omitempty"`  // the name that sentinels know
	Instance string     `json:"instance,omitempty"` // who watches
}

// ID names an alert: no two that are open at a time have the same.
func (a *Alert) ID() string { return fmt.Sprintf("%s/%s/%s", a.Rule, a.Node, a.Subject) }

// AlertState is where an alert stands.
type AlertState int

// The states of an alert.
const (
	Pending  AlertState = iota // seen, but not for long enough
	Firing                     // has to be told
	Resolved                   // is over
)

var alertStates = []string{"pending", "firing", "resolved"}

// String gives the state in a word.
func (s AlertState) String() string { return alertStates[s] }

// MarshalText makes it a word in JSON too.
func (s AlertState) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads the word.
func (s *AlertState) UnmarshalText(text []byte) error {
	for i, name := range alertStates {
		if name == string(text) {
			*s = AlertState(i)
			return nil
		}
	}
	return fmt.Errorf("monitor: %.40q is no state of an alert: want pending, firing or resolved", text)
}
