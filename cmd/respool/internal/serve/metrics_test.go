package serve

import (
	"os"
	"regexp"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed-2b0d76a6/respool/internal/gateway"
	"github.com/seed-2b0d76a6/respool/internal/gateway/quota"
)

// docs/metrics.md lists exactly the metrics of the gateway.
func TestDocsListTheGatewaysMetrics(t *testing.T) {
	text, err := os.ReadFile("../../../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `(respool_gateway_\\w+)` \\|").FindAllSubmatch(text, -1) {
		listed[string(m[1])] = true
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(&gatewayMetrics{
		stats: func() gateway.Stats {
			return gateway.Stats{PinnedBy: map[string]int{"WATCH": 1}, Users: []quota.UserStats{{Name: "app"}}}
		},
		ready: func() Readiness { return Readiness{Status: "ok"} },
	})
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if !listed[f.GetName()] {
			t.Errorf("%s is shown and not listed", f.GetName())
		}
		delete(listed, f.GetName())
	}
	for name := range listed {
		t.Errorf("%s is listed and not shown", name)
	}
}
