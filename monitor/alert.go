package monitor

import (
	"fmt"
	"time"
)

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
