package main

import (
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/drill"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

func drillJSON(t *testing.T, args ...string) drill.Report {
	t.Helper()
	code, out, errs := call(t, append([]string{"drill", "--json", "--before", "500ms", "--after", "1s"}, args...)...)
	var r drill.Report
	if err := json.Unmarshal([]byte(out), &r); err != nil || code != 0 {
		t.Fatalf("exit %d, %v: %s%s", code, err, out, errs)
	}
	return r
}

func checkDrill(t *testing.T, set *redistest.SentinelSet, r *drill.Report) {
	t.Helper()
	if r.OldPrimary == r.NewPrimary || set.NodeAt(r.OldPrimary) == nil || set.AddrOf(set.Primary()) != r.NewPrimary {
		t.Errorf("from %s to %s", r.OldPrimary, r.NewPrimary)
	}
	for _, c := range r.Callers {
		if c.Ops == 0 {
			t.Errorf("no operation of %s", c.Kind)
		}
	}
	if r.Errors("readers") > 0 || r.Writes.Twice > 0 || r.Writes.Acknowledged == 0 || r.Service != set.Name() {
		t.Errorf("%+v", r)
	}
	if n := len(r.Sockets); n != len(set.Nodes)+len(set.Sentinels) {
		t.Errorf("the sockets of %d servers were counted", n)
	}
	for _, s := range r.Sockets {
		if s.Peak > s.Limit || s.Sentinel && s.Limit != 2 {
			t.Errorf("%+v", s)
		}
	}
	primary := set.Primary()
	keys, err := primary.TryDo("KEYS", "respool:drill:*")
	if err != nil { // the sentinels kill connections at a failover, those of the test too
		keys, err = primary.TryDo("KEYS", "respool:drill:*")
	}
	if keys != "" || err != nil {
		t.Errorf("keys are left: %s, %v", keys, err)
	}
}

func TestDrill(t *testing.T) {
	set := redistest.StartSentinels(t, redistest.SentinelConfig{Password: "hushdata", SentinelPassword: "hushsentinel"})
	r := drillJSON(t, "--yes", set.URL("timeout=60"))
	checkDrill(t, set, &r)
	if r.Errors("writers") > 0 || !strings.HasPrefix(r.Verdict, "drill passed: ") || len(r.Course) == 0 {
		t.Errorf("%+v", r)
	}
	set.WaitHealthy(t, time.Minute)

	// The operator triggers the failover, here with kill -9. The report is text.
	old := set.Primary()
	var code int
	var out, errs string
	var drill sync.WaitGroup
	drill.Go(func() {
		code, out, errs = call(t, "drill", "--how", "none", "--before", "500ms", "--after", "1s", set.URL("timeout=60"))
	})
	testkit.Eventually(t, "the drill writes", func() bool { return old.Do("KEYS", "respool:drill:*") != "" })
	old.Kill()
	drill.Wait()
	for _, want := range []string{"drill passed: ", "readers", "writers", "blocked", "subscribers", "lost by asynchronous replication",
		"sockets, counted by each server", "timeline", set.AddrOf(old), "no longer answers"} {
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("exit %d, no %q in\n%s%s", code, want, out, errs)
		}
	}
	if strings.Contains(out+errs, "hush") {
		t.Error("a password shows")
	}
}

func TestDrillMistakes(t *testing.T) {
	set := redistest.StartSentinels(t, redistest.SentinelConfig{Replicas: -1, Sentinels: 1})
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"redis://localhost"}, "names one server"},
		{[]string{"redis+sentinel://s1/m?role=replica"}, "role is replica"},
		{[]string{"--readers", "-1", "redis+sentinel://s1/m"}, "--readers"},
		{[]string{"--limit", "1ms", "redis+sentinel://s1/m"}, "--limit is 1ms"},
		{[]string{"--how", "magic", "redis+sentinel://s1/m"}, "--how"},
		{[]string{"--yes", "redis+sentinel://127.0.0.1:1/m"}, "connection refused"},
		{[]string{set.URL()}, "want --yes"},
		{[]string{"--yes", "--before", "100ms", set.URL()}, "NOGOODSLAVE"},
		{[]string{"--how", "none", "--before", "100ms", "--limit", "300ms", set.URL()}, "no failover happened"},
	} {
		code, out, errs := call(t, append([]string{"drill"}, c.args...)...)
		if code != 2 || !strings.Contains(errs, c.want) || out != "" {
			t.Errorf("%v: exit %d, %q, %q: want %q", c.args, code, out, errs, c.want)
		}
	}
	if n := set.Nodes[0].Do("DBSIZE"); n != "0" {
		t.Errorf("%s keys are left", n)
	}
}
