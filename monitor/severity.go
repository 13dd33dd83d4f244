package monitor

import (
	"fmt"
	"strings"
)

// Severity is the severity of a finding, by the reaction that it needs.
type Severity int

// The severities.
const (
	Note   Severity = iota // worth knowing
	Warn                   // will become a problem
	Ticket                 // needs a reaction in working hours
	Page                   // needs a reaction now
)

var severities = []string{"note", "warn", "ticket", "page"}

// String returns the severity in one word.
func (s Severity) String() string { return severities[s] }

// MarshalText returns the word of String.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads the word of String.
func (s *Severity) UnmarshalText(text []byte) error {
	for i, name := range severities {
		if name == string(text) {
			*s = Severity(i)
			return nil
		}
	}
	return fmt.Errorf("monitor: %.40q is not a severity: want %s", text, strings.Join(severities, ", "))
}

// Worst returns the highest severity of the findings, and false if there are none.
func Worst(findings []Finding) (worst Severity, some bool) {
	for _, f := range findings {
		worst, some = max(worst, f.Severity), true
	}
	return worst, some
}

// Summary returns the overall severity in a few words: critical if a finding has severity Page,
// warnings if a finding is more than a note.
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
