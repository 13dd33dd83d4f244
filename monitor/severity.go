package monitor

import (
	"cmp"
	"fmt"
	"slices"
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
	word := "fine"
	switch worst {
	case Page:
		word = "critical"
	case Ticket, Warn:
		word = "warnings"
	}
	return word + " (" + counts(findings) + ")"
}

// counts formats the numbers of findings by severity.
func counts(findings []Finding) string {
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
	return strings.Join(parts, ", ")
}

// SummaryOfAlerts returns the overall severity of the firing alerts in a few words, and names the
// pending ones: conditions that hold, but not for long enough yet. It ignores resolved ones.
func SummaryOfAlerts(alerts []Alert) string {
	var firing, pending []Finding
	for _, a := range alerts {
		switch a.State {
		case Firing:
			firing = append(firing, a.Finding)
		case Pending:
			pending = append(pending, a.Finding)
		}
	}
	if len(pending) == 0 {
		return Summary(firing)
	}
	slices.SortStableFunc(pending, func(a, b Finding) int { return cmp.Compare(b.Severity, a.Severity) })
	text := "no alert yet"
	if len(firing) > 0 {
		text = Summary(firing)
	}
	worst := pending[0]
	text += fmt.Sprintf("; pending (%s): %s %s", counts(pending), worst.Rule, worst.Subject)
	text = strings.TrimSpace(text) + ": " + worst.What
	if worst.Node != "" && !strings.Contains(worst.What, worst.Node) {
		text += " at " + worst.Node
	}
	return text
}
