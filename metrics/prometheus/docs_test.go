package respoolprom_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/monitor"
)

// docs/metrics.md lists exactly the exported metrics. A test of the tool checks those of the
// gateway.
func TestDocsListAllMetrics(t *testing.T) {
	text, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `((?:respool|db)_\\w+)` \\|").FindAllSubmatch(text, -1) {
		listed[string(m[1])] = true
	}
	alert := monitor.Alert{Finding: monitor.Finding{Rule: "down"}, State: monitor.Firing}
	state := someState(t)
	state.Cluster = clusterState(t).Cluster
	state.Nodes = append(state.Nodes, clusterState(t).Nodes...)
	for name := range gather(t, somePool("orders", respool.Stats{Addr: "redis:6379", Blocking: respool.BlockingStats{Commands: map[string]respool.BlockingCount{"BLPOP": {}}}}), servers(state, alert)) {
		if !listed[name] {
			t.Errorf("%s is shown and not listed", name)
		}
		delete(listed, name)
	}
	for name := range listed {
		if strings.HasPrefix(name, "respool_gateway_") {
			continue
		}
		t.Errorf("%s is listed and not shown", name)
	}
}
