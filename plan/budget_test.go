package plan

import (
	"strings"
	"testing"
	"time"
)

func TestCeilingsAddUp(t *testing.T) {
	total, unbounded := Sum([]Service{
		{Name: "orders", Processes: 100, MaxConnections: 16},
		{Name: "search", Processes: 10, MaxConnections: 8, Pools: 2, Held: 3},
		{Name: "batch", Processes: 4, MaxConnections: Unbounded, Held: 1},
		{Name: "cron", MaxConnections: 1},
	})
	if total != 1600+10*19+4+1 || len(unbounded) != 1 || unbounded[0] != "batch" {
		t.Errorf("%d, without a ceiling %v", total, unbounded)
	}
	for _, c := range []struct {
		budget Budget
		want   int
	}{
		{Budget{}, 9500},
		{Budget{MaxClients: 1000, Others: 100}, 850},
		{Budget{MaxClients: 1000, Reserve: None}, 1000},
		{Budget{MaxClients: 100, Others: 200, Reserve: 10}, -110},
		{Budget{MaxClients: 1000, Others: 100, ReserveShare: 0.1}, 800},
	} {
		if n, err := c.budget.Connections(); err != nil || n != c.want {
			t.Errorf("%+v: %d, %v: want %d", c.budget, n, err, c.want)
		}
	}
}

func TestChecksFindWhatIsWrong(t *testing.T) {
	load := &Load{Rate: 900, Burst: 2, Mean: 1200 * time.Microsecond, P99: 8 * time.Millisecond} // needs 7
	for _, c := range []struct {
		name     string
		budget   Budget
		services []Service
		fits     bool
		over     int
		problems string
		ways     []string
	}{
		{"all is well", Budget{}, []Service{{Name: "a", Processes: 100, MaxConnections: 16}, {Name: "b", Load: load}}, true, 0, "", nil},
		{"over the budget", Budget{MaxClients: 1000, Reserve: 50}, []Service{{Name: "a", Processes: 100, MaxConnections: 16}}, false, 650,
			"failure: the ceilings add up to 1600 connections, 650 more than the budget of 950", []string{"in total 500 instead of 1600", "raise maxclients to 1650"}},
		{"a reserve that grows", Budget{MaxClients: 1000}, []Service{{Name: "a", Processes: 100, MaxConnections: 16}}, false, 650,
			"failure", []string{"raise maxclients to 1685"}},
		{"a tenth kept free", Budget{MaxClients: 1000, Others: 20, ReserveShare: 0.1}, []Service{{Name: "a", Processes: 100, MaxConnections: 16}}, false, 720,
			"failure", []string{"raise maxclients to 1800"}},
		{"no budget at all", Budget{MaxClients: 100, Others: 200, Reserve: None}, []Service{{Name: "a", MaxConnections: 1}}, false, 1,
			"failure", []string{"raise maxclients to 201"}},
		{"no ceiling", Budget{}, []Service{{Name: "a", Processes: 5, MaxConnections: Unbounded}}, false, 0, "failure a: a has no ceiling: its 5 processes", []string{"set max_connections of a: at most 1900"}},
		{"no ceiling but a load", Budget{}, []Service{{Name: "a", Processes: 5, MaxConnections: Unbounded, Load: load}}, false, 0, "failure a: a has no ceiling", []string{"needs 7, 35 in total"}},
		{"nearly full", Budget{MaxClients: 1000, Reserve: None}, []Service{{Name: "a", MaxConnections: 900}}, true, 0, "warning: 90% of the budget", nil},
		{"too low", Budget{}, []Service{{Name: "a", Processes: 2, MaxConnections: 4, Load: load}}, true, 0, "warning a: a has a ceiling of 4, but its load needs 7", []string{"from 4 to 7: 6 more"}},
		{"far too high", Budget{}, []Service{{Name: "a", Processes: 2, MaxConnections: 50, Load: load}}, true, 0, "warning a: a has a ceiling of 50", []string{"the 7 that its load needs: 86 fewer"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Check(c.budget, c.services)
			if err != nil {
				t.Fatal(err)
			}
			var problems []string
			for _, p := range got.Problems {
				problems = append(problems, strings.TrimSpace(string(p.Severity)+" "+p.Service)+": "+p.Text)
			}
			if got.Fits() != c.fits || got.Over != c.over || !strings.HasPrefix(strings.Join(problems, "\n"), c.problems) || (c.problems == "") != (len(problems) == 0) {
				t.Errorf("%+v", got)
			}
			for _, w := range c.ways {
				if text := strings.Join(got.Ways, "\n"); !strings.Contains(text, w) {
					t.Errorf("no %q in\n%s", w, text)
				}
			}
		})
	}
}

func TestImpossibleServicesAreExplained(t *testing.T) {
	for want, services := range map[string][]Service{
		"no ceiling and no load":  {{Name: "a"}},
		"duplicate service \"a\"": {{Name: "a", MaxConnections: 1}, {Name: "a", MaxConnections: 1}},
		"max connections is -2":   {{Name: "a", MaxConnections: -2}},
		"-1 processes":            {{Name: "a", MaxConnections: 1, Processes: -1}},
		"rate is 0":               {{Name: "a", Load: &Load{}}},
	} {
		if _, err := Check(Budget{}, services); err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "plan: ") {
			t.Errorf("%v: want %s", err, want)
		}
	}
}
