package watch

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/report"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/tooltest"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/clustertest"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// serviceWatch is a watch of a service.
type serviceWatch struct {
	*watching
	set  *redistest.SentinelSet
	hook *tooltest.Receiver
}

func watchService(t *testing.T, rules string) *serviceWatch {
	t.Helper()
	set := redistest.StartSentinels(t, redistest.SentinelConfig{})
	hook := tooltest.NewReceiver(t)
	return &serviceWatch{watch(t, fmt.Sprintf("url: %q\nevery: 50ms\nlist_every: 50ms\nrules: %s\ntell: [{webhook: {url: %q}}]\n", set.URL(), rules, hook.URL)), set, hook}
}

// primary waits until a primary and this many replicas are up, and returns the address of the
// primary.
func (w *serviceWatch) primary(t *testing.T, replicas int) string {
	t.Helper()
	r := testkit.AwaitWithin(t, time.Minute, "a primary and its replicas", func() report.State { return w.snapshot(t) }, func(r report.State) bool {
		roles := map[string]int{}
		for _, n := range r.Nodes {
			if n.Up {
				roles[n.Role]++
			}
		}
		return roles["primary"] == 1 && roles["replica"] == replicas
	})
	return r.Nodes[0].Addr
}

// A failover raises no alert.
func TestWatchThroughAFailover(t *testing.T) {
	w := watchService(t, "{}")
	before := w.primary(t, 2)
	w.set.Failover()
	testkit.AwaitWithin(t, time.Minute, "another primary than "+before, func() string { return w.primary(t, 2) }, func(now string) bool { return now != before })
	if err := w.stop(); err != nil {
		t.Error(err)
	}
	if got := w.hook.Told(); len(got) != 0 {
		t.Errorf("false alerts: %q", got)
	}
}

// A cluster without a replica, and then without a shard.
func TestWatchOfACluster(t *testing.T) {
	c := clustertest.Start(t, clustertest.Config{})
	hook := tooltest.NewReceiver(t)
	w := watch(t, fmt.Sprintf("url: %q\nevery: 50ms\nlist_every: 50ms\nrules: {down: off, no-replica: {for: 100ms, keep: 100ms}, slots: {for: 100ms, keep: 100ms}}\ntell: [{webhook: {url: %q}}]\n", c.URL(), hook.URL))
	testkit.Await(t, "all nodes", func() report.State { return w.snapshot(t) }, func(r report.State) bool {
		return len(r.Nodes) == 6 && r.Cluster != nil && r.Cluster.Covered == 16384 && r.Cluster.Primaries == 3 && r.Cluster.Replicas == 3
	})
	primary := c.Primaries()[0]
	replica := c.ReplicasOf(primary)[0]
	replica.Kill()
	hook.Until(t, "firing no-replica "+primary.Addr())
	primary.Kill()
	hook.Until(t, "firing slots")
	replica.Restart()
	primary.Restart()
	hook.Until(t, "resolved slots")
	hook.Until(t, "resolved no-replica "+primary.Addr())
	if err := w.stop(); err != nil {
		t.Error(err)
	}
}

// A killed primary is down, and the other nodes are not.
func TestWatchThroughAKilledPrimary(t *testing.T) {
	w := watchService(t, "{down: {for: 100ms, keep: 100ms}}")
	before := w.primary(t, 2)
	old := w.set.NodeAt(before)
	old.Kill()
	w.hook.Until(t, "firing down")
	if now := w.primary(t, 1); now == before {
		t.Error("the old primary is shown still")
	}
	old.Restart()
	w.hook.Until(t, "resolved down")
	w.primary(t, 2)
	if err := w.stop(); err != nil {
		t.Error(err)
	}
	if got := w.hook.Told(); !slices.Equal(got, []string{"firing down", "resolved down"}) {
		t.Errorf("told %q", got)
	}
	for _, a := range w.hook.Got {
		if a.Node != before || a.Service != w.set.Name() {
			t.Errorf("%+v", a)
		}
	}
}
