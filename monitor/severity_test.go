package monitor

import "testing"

func TestPendingAlertsChangeTheSummary(t *testing.T) {
	one := func(rule string, severity Severity, state AlertState, what, node string) Alert {
		return Alert{Finding: Finding{Rule: rule, Severity: severity, What: what, Node: node}, State: state}
	}
	over := one("leak", Warn, Resolved, "cart holds 30", "")
	full := one("occupancy-critical", Page, Pending, "93% of maxclients is in use", "n:1")
	down := one("down", Page, Pending, "n:1 does not answer", "n:1")
	storm := one("new-connections", Warn, Pending, "150 connections a second are opened", "n:1")
	firing := one("leak", Warn, Firing, "cart holds 30", "")
	firing.Subject = "cart"
	for _, c := range []struct {
		alerts []Alert
		want   string
	}{
		{nil, "nothing found"},
		{[]Alert{over}, "nothing found"},
		{[]Alert{firing, over}, "warnings (1 warn)"},
		{[]Alert{storm, full}, "no alert yet; pending (1 page, 1 warn): occupancy-critical: 93% of maxclients is in use at n:1"},
		{[]Alert{down}, "no alert yet; pending (1 page): down: n:1 does not answer"},
		{[]Alert{firing, full}, "warnings (1 warn); pending (1 page): occupancy-critical: 93% of maxclients is in use at n:1"},
	} {
		if got := SummaryOfAlerts(c.alerts); got != c.want {
			t.Errorf("%q: want %q", got, c.want)
		}
	}
}

// An empty list of connections names nobody.
func TestHoldersNamesNobodyOfAnEmptyList(t *testing.T) {
	s := scene{taken: 90, list: "\n"}
	st := s.view(t)
	n := &st.Nodes[0]
	if n.List == nil {
		t.Fatal("there is no list")
	}
	if text := holders(n); text != "" {
		t.Errorf("%q: want nothing", text)
	}
}
