package respoolprom_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	respoolprom "github.com/seed-2b0d76a6/respool/metrics/prometheus"
	"github.com/seed-2b0d76a6/respool/monitor"
)

// top is a collector that lists n groups of clients.
func top(t testing.TB, n int, clients ...string) *respoolprom.Servers {
	snap := snapshot(t, someInfo, clients...)
	state := &monitor.State{Nodes: []monitor.NodeState{{Addr: "redis:6379", Up: true, Last: snap, List: snap}}}
	return respoolprom.NewServers(func() *monitor.State { return state }, nil, n)
}

func TestSmallGroupsAreCountedTogether(t *testing.T) {
	var clients []string
	for group := range 30 {
		for range 1 + group {
			clients = append(clients, client(len(clients)+1, fmt.Sprintf("service%02d:1:main", group), "go", "app", "idle=0 flags=N"))
		}
	}
	sums := map[string]float64{}
	for _, m := range gather(t, top(t, 3, clients...))["respool_clients"].GetMetric() {
		sums[labelsOf(m)["service"]] += number(m)
	}
	want := map[string]float64{"service29": 30, "service28": 29, "service27": 28, "other": 27 * 28 / 2}
	if len(sums) != len(want) {
		t.Errorf("%v: want %v", sums, want)
	}
	for service, n := range want {
		if sums[service] != n {
			t.Errorf("%s has %v: want %v", service, sums[service], n)
		}
	}
}

func TestOddNamesBreakNothing(t *testing.T) {
	long := strings.Repeat("x", 150)
	c := top(t, 3,
		client(1, "other:1", "other", "other", "idle=0"),
		client(2, "bad\xff:1", "go", "app", "idle=0"), client(3, "bad\xfe:1", "go", "app", "idle=0"),
		client(4, long+"a:1", "go", "app", "idle=0"), client(5, long+"b:1", "go", "app", "idle=0"),
		client(6, `quote"back\slash`, "go", "app", "idle=0"))
	sum := 0.0
	for _, m := range gather(t, c)["respool_clients"].GetMetric() {
		sum += number(m)
		if s := labelsOf(m)["service"]; len(s) > 100 {
			t.Errorf("a label of %d bytes", len(s))
		}
	}
	if sum != 6 {
		t.Errorf("%v clients are shown: want 6", sum)
	}
}

// Each client is counted once, and the number of series is limited.
func TestClientsAreCountedOnce(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		name := rapid.SampledFrom([]string{"", "a", "b:1", "other", "c:2:x", "\xff", "\xfe", "d", "e", "f"})
		state := rapid.SampledFrom([]string{"idle=0 flags=N", "idle=30 flags=N", "idle=90 flags=N", "idle=90 flags=b", "idle=5 flags=P sub=1", "idle=0 flags=P psub=3"})
		clients := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) string {
			return client(1, name.Draw(rt, "name"), name.Draw(rt, "lib"), name.Draw(rt, "user"), state.Draw(rt, "state"))
		}), 1, 80).Draw(rt, "clients")
		n := rapid.IntRange(1, 12).Draw(rt, "top")
		list := gather(t, top(t, n, clients...))["respool_clients"].GetMetric()
		sum, owners := 0.0, []string{}
		for _, m := range list {
			sum += number(m)
			l := labelsOf(m)
			owners = append(owners, l["service"]+"\x00"+l["lib"]+"\x00"+l["user"])
		}
		slices.Sort(owners)
		owners = slices.Compact(owners)
		if int(sum) != len(clients) || len(owners) > n+1 || len(list) != 5*len(owners) {
			rt.Errorf("%v of %d clients are shown, in %d series of %d owners: want %d owners at most", sum, len(clients), len(list), len(owners), n+1)
		}
	})
}
