package main

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/sizing"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

func planJSON(t *testing.T, want int, args ...string) sizing.Report {
	t.Helper()
	code, out, errs := call(t, append([]string{"plan", "--json"}, args...)...)
	var r sizing.Report
	if err := json.Unmarshal([]byte(out), &r); err != nil || code != want {
		t.Fatalf("exit %d, %v: %s%s", code, err, out, errs)
	}
	return r
}

func TestPlan(t *testing.T) {
	r := planJSON(t, 0, "--rps", "900", "--burst", "2", "--mean", "1.2ms", "--p99", "8ms", "--pods", "40", "--surge", "25%",
		"--maxclients", "10000", "--others", "3000", "--simulate", "--commands", "500000")
	if r.Pooled.Processes != 50 || r.Pooled.Budget != 6500 || r.Pooled.Total != 50*r.Pooled.MaxConnections || r.Pooled.MaxConnections < 4 {
		t.Errorf("%+v", r.Pooled)
	}
	if r.Simulated == nil || math.Abs(r.Simulated.Waiting-r.Waiting) > 0.2*r.Waiting {
		t.Errorf("%g wait by the model, in the simulation %+v", r.Waiting, r.Simulated)
	}
	// Many small processes: pools do not fit, shared connections do.
	r = planJSON(t, 1, "--rps", "2000", "--mean", "5ms", "--pods", "100", "--surge", "0", "--reserve", "0", "--maxclients", "1000")
	if r.Pooled.Over == 0 || r.Pooled.Over != r.Pooled.Total-1000 || r.Respool.Over != 0 || len(r.Ways) == 0 || !strings.HasPrefix(r.Verdict, "does not fit") {
		t.Errorf("%+v", r)
	}
	r = planJSON(t, exitFindings, "--rps", "2000", "--mean", "5ms", "--pods", "1000", "--maxclients", "1000")
	if r.Respool.Over == 0 {
		t.Errorf("%+v", r)
	}
	code, out, _ := call(t, "plan", "--rps", "50", "--mean", "4ms", "--parallel", "20")
	if code != 0 || !strings.HasPrefix(out, "fits: ") || !strings.Contains(out, "next: set max_connections=") {
		t.Errorf("exit %d: %s", code, out)
	}
}

func TestPlanPlaysADeployment(t *testing.T) {
	args := []string{"--rps", "900", "--burst", "2", "--mean", "1.2ms", "--p99", "8ms", "--pods", "40", "--deploy", "--drain", "30s", "--dial", "1ms", "--commands", "200000"}
	r := planJSON(t, 0, args...)
	// Waves of ten pods: with a drain of three starts, all old pods run beside all new ones.
	d := r.Deployed
	if d == nil || d.Processes != 80 || d.Before != 40*7 || d.Peak <= 50*7 || d.Peak > 80*7 || d.Over != 0 || d.Seconds != 70 || r.Simulated == nil {
		t.Errorf("%+v", d)
	}
	r = planJSON(t, 1, append(args, "--maxclients", "400", "--reserve", "0")...)
	if r.Pooled.Over != 0 || r.Deployed.Over != r.Deployed.Peak-400 || !strings.HasPrefix(r.Verdict, "does not fit during a deployment: ") || !strings.Contains(strings.Join(r.Ways, ""), "pools of 5 fit") {
		t.Errorf("%+v %+v", r, r.Deployed)
	}
	code, out, _ := call(t, append([]string{"plan", "--drain", "0s"}, args[:10]...)...)
	if code != 0 || strings.Contains(out, "deployment of") {
		t.Errorf("exit %d: %s", code, out)
	}
	code, out, _ = call(t, append([]string{"plan"}, args...)...)
	if code != 0 || !strings.Contains(out, "deployment of 70 s: 80 processes") || !strings.Contains(out, "within the budget of 9500") {
		t.Errorf("exit %d: %s", code, out)
	}
}

func TestPlanTakesWhatAServerShows(t *testing.T) {
	s := redistest.Start(t, redistest.Config{MaxClients: 400})
	r := planJSON(t, 0, "--rps", "10", "--mean", "1ms", "--reserve", "0", "--from", s.URL())
	if r.Pooled.Budget != 399 { // except for the connection of the test itself
		t.Errorf("budget %d: want 399", r.Pooled.Budget)
	}
}

func TestPlanMistakes(t *testing.T) {
	trace := filepath.Join(t.TempDir(), "trace")
	if err := os.WriteFile(trace, []byte("1ms\n2ms\nsoon\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--rps", "900"}, "--mean"},
		{[]string{"--rps", "900", "--mean", "1.2ms", "--p99", "40ms"}, "15.0 times at most"},
		{[]string{"--rps", "900", "--mean", "1.2ms", "--p99", "1ms"}, "is below the mean"},
		{[]string{"--rps", "0", "--mean", "1ms"}, "rate is 0"},
		{[]string{"--rps", "1", "--mean", "1ms", "--surge", "many"}, "is not a share"},
		{[]string{"--rps", "1", "--mean", "1ms", "--surge", "-5%"}, "--surge"},
		{[]string{"--rps", "1", "--mean", "1ms", "--simulate", "--trace", trace}, "line 3"},
		{[]string{"--rps", "1", "--mean", "1ms", "--simulate", "--trace", trace + ".none"}, "no such file"},
		{[]string{"--rps", "1", "--mean", "1ms", "--simulate", "--stall-every", "1s"}, "stalls need both"},
		{[]string{"--rps", "1", "--mean", "1ms", "--deploy", "--warm", "1000"}, "--warm is 1000"},
		{[]string{"--rps", "1", "--mean", "1ms", "--deploy", "--drain=-1s"}, "want durations"},
		{[]string{"--rps", "1", "--mean", "1ms", "--from", "redis://127.0.0.1:1"}, "connection refused"},
	} {
		code, out, errs := call(t, append([]string{"plan"}, c.args...)...)
		if code != 2 || !strings.Contains(errs, c.want) || out != "" {
			t.Errorf("%v: exit %d, %q, %q: want %q", c.args, code, out, errs, c.want)
		}
	}
}
