package monitor

import (
	"fmt"
	"strings"
)

// Severity says how bad a finding is, by what should come of it.
type Severity int

// The severities.
const (
	Note   Severity = iota // worth knowing
	Warn                   // will hurt
	Ticket                 // somebody should see to it in working hours
	Page                   // somebody should see to it now
)

var severities = []string{"note", "warn", "ticket", "page"}

// String gives the severity in a word.
func (s Severity) String() string { return severities[s] }

// MarshalText makes it a word in JSON too.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads the word.
func (s *Severity) UnmarshalText(text []byte) error {
	for i, name := range severities {
		if name == string(text) {
			*s = Severity(i)
			return nil
		}
	}
	return fmt.Errorf("monitor: %.40q is no severity: want %s", text, strings.Join(severities, ", "))
}

// Worst is the highest severity among findings, and false if there are none.
func Worst(findings []Finding) (worst Severity, some bool) {
	for _, f := range findings {
		worst, some = max(worst, f.Severity), true
	}
	return worst, some
}

// Summary tells in a few words how bad findings are together: critical where
// one is to page somebody, warnings where some are more than notes.
func Summary(findings []Finding) string {
	worst, some := Worst(findings)
	if !some {
		return "nothing found"
	}
	n := make([]int, len(severities))
	for _, f := range findings {
		n[f.Severity]++
	}
	var parts []string
	for s := Page; s >= Note; s-- {
		if n[s] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n[s], s))
		}
	}
	word := "fine"
	switch worst {
	case Page:
		word = "critical"
	case Ticket, Warn:
		word = "warnings"
	}
	return word + " (" + strings.Join(parts, ", ") + ")"
}
