package main

import (
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/drill"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/clustertest"
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
	testkit.Eventually(t, "the drill writes", func() bool { return old.Do("KEYS", "respool:drill:*:write:*") != "" })
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

func TestDrillOfACluster(t *testing.T) {
	c := clustertest.Start(t, clustertest.Config{Password: "hushcluster"})
	old := c.Primaries()[0]
	replica := c.ReplicasOf(old)[0]
	r := drillJSON(t, "--yes", "--reshard", "20", c.URL("max_connections=6", "max_connections_total=12", "timeout=60"))
	if !r.Cluster || r.OldPrimary != old.Addr() || r.NewPrimary != replica.Addr() || !strings.HasPrefix(r.Verdict, "drill passed: a shard moved from ") {
		t.Errorf("%+v", r)
	}
	for _, one := range r.Callers {
		if one.Ops == 0 {
			t.Errorf("no operation of %s", one.Kind)
		}
	}
	if r.Errors("readers") > 0 || r.Errors("writers") > 0 || r.Writes.Lost > 0 || r.Writes.Twice > 0 || r.Writes.Acknowledged == 0 {
		t.Errorf("%+v", r)
	}
	if len(r.Sockets) != 6 || r.Together == nil || r.Together.Limit != 12 || r.Together.Peak > 12 || r.Together.Peak < 3 {
		t.Errorf("%+v, %+v", r.Sockets, r.Together)
	}
	for _, s := range r.Sockets {
		if s.Peak > s.Limit || s.Limit != 6 {
			t.Errorf("%+v", s)
		}
	}
	if len(r.Moves) != 1 || r.Moves[0].Slots != 20 || r.Moves[0].Keys == 0 || r.Moves[0].OutMS <= 0 || r.Moves[0].BackMS <= 0 {
		t.Errorf("%+v", r.Moves)
	}
	healthy := func() {
		t.Helper()
		c.WaitHealthy(t, time.Minute)
		isWhole(t, c)
		for _, n := range c.Nodes() {
			if keys := n.Do("KEYS", "respool:drill:*"); keys != "" {
				t.Errorf("keys are left at %s: %s", n.Addr(), keys)
			}
		}
		if slots := strings.Count(replica.Do("CLUSTER", "NODES"), " 0-5460"); slots != 1 {
			t.Errorf("the slots did not return:\n%s", replica.Do("CLUSTER", "NODES"))
		}
	}
	healthy()

	// Only slots move. The report is text.
	code, out, errs := call(t, "drill", "--how", "none", "--reshard", "5", "--yes", "--before", "200ms", "--after", "200ms", c.URL("timeout=60"))
	for _, want := range []string{"drill passed: 5 slots moved from ", "and back; 0 read errors, 0 write errors", "longest pause", "all nodes at one time", "lost: 0 ", "timeline"} {
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("exit %d, no %q in\n%s%s", code, want, out, errs)
		}
	}
	if strings.Contains(out+errs, "hush") {
		t.Error("a password shows")
	}
	healthy()

	// The operator triggers the failover, here with kill -9.
	killed := c.Primaries()[0]
	var drill sync.WaitGroup
	drill.Go(func() {
		code, out, errs = call(t, "drill", "--how", "none", "--before", "500ms", "--after", "500ms", c.URL("timeout=60"))
	})
	testkit.Eventually(t, "the drill writes", func() bool { return killed.Do("KEYS", "respool:drill:*:write:*") != "" })
	killed.Kill()
	drill.Wait()
	if code != 0 || !strings.Contains(out, "drill passed: a shard moved from "+killed.Addr()) || !strings.Contains(out, "no longer answers") {
		t.Errorf("exit %d:\n%s%s", code, out, errs)
	}
}

// isWhole checks that no slot is half moved.
func isWhole(t *testing.T, c *clustertest.Cluster) {
	t.Helper()
	for _, n := range c.Nodes() {
		if nodes := n.Do("CLUSTER", "NODES"); strings.Contains(nodes, "->-") || strings.Contains(nodes, "-<-") {
			t.Errorf("slots are half moved at %s:\n%s", n.Addr(), nodes)
		}
	}
}

func TestDrillMistakesOfACluster(t *testing.T) {
	c := clustertest.Start(t, clustertest.Config{Replicas: -1})
	for _, x := range []struct {
		args []string
		want string
	}{
		{[]string{c.URL()}, "no primary of the cluster has a replica that works"},
		{[]string{"--how", "none", "--reshard", "5", c.URL()}, "want --yes"},
		{[]string{"--how", "none", "--reshard", "16000", "--yes", "--before", "100ms", c.URL()}, "want fewer than the 5461 slots"},
		{[]string{"--reshard", "5", "redis+sentinel://s1/m"}, "--reshard is for a cluster"},
		{[]string{"--reshard", "-1", c.URL()}, "--reshard is -1"},
		{[]string{"--how", "none", "--before", "100ms", "--limit", "300ms", c.URL()}, "no failover happened"},
	} {
		code, out, errs := call(t, append([]string{"drill"}, x.args...)...)
		if code != 2 || !strings.Contains(errs, x.want) || out != "" {
			t.Errorf("%v: exit %d, %q, %q: want %q", x.args, code, out, errs, x.want)
		}
	}
	// A slot that cannot move stays whole at its node.
	from := c.Primaries()[0]
	from.Do("ACL", "SETUSER", "default", "-migrate")
	code, out, errs := call(t, "drill", "--how", "none", "--reshard", "5", "--yes", "--before", "200ms", c.URL())
	if code != 2 || !strings.Contains(errs, "move slot ") || !strings.Contains(errs, "NOPERM") || strings.Contains(errs, "half moved") || out != "" {
		t.Errorf("exit %d, %q, %q", code, out, errs)
	}
	isWhole(t, c)
	from.Do("ACL", "SETUSER", "default", "+migrate")
	for _, n := range c.Nodes() {
		if keys := n.Do("DBSIZE"); keys != "0" {
			t.Errorf("%s keys are left at %s", keys, n.Addr())
		}
	}
}
