package plan

import (
	"strings"
	"testing"
	"time"
)

// Four pods, one new one at a time, each ready after 10 s; old ones drain for
// 25 s. One starts at 0, 10, 20 and 30 s, old ones stop at 10, 20, 30 and 40 s and
// end at 35, 45, 55 and 65 s. So at 30 s there are four old and four new.
func TestADeploymentAddsUpAsByHand(t *testing.T) {
	l := Load{Rate: 100, Mean: time.Millisecond, P99: 2 * time.Millisecond}
	d := Deploy{Pods: 4, Surge: 0.25, Start: 10 * time.Second, Drain: 25 * time.Second, Warm: 5, Held: 1, Budget: 40}
	out, err := Simulate(l, Scenario{Connections: 5, Commands: 100_000, Seed: 1, Deploy: d})
	if err != nil {
		t.Fatal(err)
	}
	got := out.Deploy
	if got.Processes != 8 || got.Peak != 8*(5+1) || got.PeakAt != 30*time.Second || got.Length != 65*time.Second || got.Over != 8 || got.Before != 24 {
		t.Errorf("%+v", got)
	}
	// As long as all drain at once the peak is the same with half the wait; not with none.
	d.Drain = 0
	out, err = Simulate(l, Scenario{Connections: 5, Commands: 100_000, Seed: 1, Deploy: d})
	if err != nil || out.Deploy.Processes != 5 || out.Deploy.Peak != 5*6 || out.Deploy.PeakAt != 0 || out.Deploy.Length != 40*time.Second || out.Deploy.Over != 0 {
		t.Errorf("%+v, %v", out.Deploy, err)
	}
}

// One pod at a time ends, and then its successor starts: there are never more.
func TestADeploymentInPlaceHasNoMoreProcesses(t *testing.T) {
	l := Load{Rate: 100, Mean: time.Millisecond}
	d := Deploy{Pods: 3, Surge: None, Workers: 2, Start: 4 * time.Second, Drain: 6 * time.Second, Warm: 2}
	out, err := Simulate(l, Scenario{Connections: 3, Commands: 50_000, Seed: 1, Deploy: d})
	if err != nil || out.Deploy.Processes != 6 || out.Deploy.Peak != 6*3 || out.Deploy.PeakAt != 0 || out.Deploy.Length != 30*time.Second {
		t.Errorf("%+v, %v", out.Deploy, err)
	}
}

func TestColdProcessesDialOnDemand(t *testing.T) {
	l := Load{Rate: 1000, Mean: time.Millisecond, P99: 2 * time.Millisecond}
	deploy := func(warm int, dial time.Duration) Deployment {
		d := Deploy{Pods: 4, Start: time.Second, Drain: time.Second, Warm: warm, Dial: dial}
		out, err := Simulate(l, Scenario{Connections: 8, Commands: 100_000, Seed: 2, Deploy: d})
		if err != nil {
			t.Fatal(err)
		}
		return out.Deploy
	}
	warm, cold := deploy(8, 50*time.Millisecond), deploy(0, 50*time.Millisecond)
	if cold.Late <= warm.Late || cold.Late > 0.1 || cold.Peak >= warm.Peak || cold.Peak <= cold.Before {
		t.Errorf("cold %+v, warm %+v", cold, warm)
	}
	// A process has no more than its ceiling, however many dial at a time.
	if cold.Peak > cold.Processes*8 {
		t.Errorf("%+v", cold)
	}
	if again := deploy(0, 50*time.Millisecond); again != cold {
		t.Errorf("%+v, and then %+v", cold, again)
	}
}

// Of a large fleet some processes are played, and stand for the others.
func TestLargeDeploymentsArePlayedInPart(t *testing.T) {
	l := Load{Rate: 1000, Mean: time.Millisecond}
	d := Deploy{Pods: 1000, Workers: 4, Start: 10 * time.Second, Drain: 30 * time.Second, Warm: 7}
	out, err := Simulate(l, Scenario{Connections: 7, Commands: 200_000, Seed: 2, Deploy: d})
	if err != nil || out.Deploy.Commands > 500_000 || out.Deploy.Commands < 50_000 || out.Deploy.Peak != 2000*4*7 {
		t.Errorf("%+v, %v", out.Deploy, err)
	}
}

func TestImpossibleDeploymentsAreExplained(t *testing.T) {
	for want, d := range map[string]Deploy{
		"pods is -1":            {Pods: -1},
		"want 100000 processes": {Pods: 50_001, Workers: 2},
		"want durations":        {Pods: 1, Drain: -1},
		"want 0 to 3":           {Pods: 1, Warm: 4},
		"held -1":               {Pods: 1, Held: -1},
		"surge is 11":           {Pods: 1, Surge: 11},
		"at its start: want 0":  {Pods: 1, Warm: -1},
	} {
		_, err := Simulate(Load{Rate: 1, Mean: time.Millisecond}, Scenario{Connections: 3, Deploy: d})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "plan: ") {
			t.Errorf("%+v: %v: want %s", d, err, want)
		}
	}
}
