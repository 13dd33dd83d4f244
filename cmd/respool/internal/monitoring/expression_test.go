package monitoring

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/serve"
	"github.com/seed-2b0d76a6/respool/internal/gateway"
	"github.com/seed-2b0d76a6/respool/internal/gateway/quota"
	respoolprom "github.com/seed-2b0d76a6/respool/metrics/prometheus"
	"github.com/seed-2b0d76a6/respool/monitor"
)

// shownMetrics are the exported metrics and their labels.
func shownMetrics(t *testing.T) map[string][]string {
	t.Helper()
	pool := respoolprom.NewPool("orders", nil)
	pool.Watch(func() respool.Stats {
		return respool.Stats{Addr: "redis:6379", Blocking: respool.BlockingStats{Commands: map[string]respool.BlockingCount{"BLPOP": {}}}}
	})
	snap, err := monitor.NewSnapshot(monitor.Source{At: time.Now(),
		Info: "run_id:a\nredis_version:7.0.15\nconnected_clients:3\nmaxclients:10\nblocked_clients:1\ntotal_connections_received:3\nrejected_connections:0\n" +
			"total_commands_processed:9\nmem_clients_normal:5\nused_memory:9\nuptime_in_seconds:7\n",
		List: strings.NewReader("id=1 addr=10.0.0.1:5 name=orders:1 user=app age=1 idle=0 flags=N\n")})
	if err != nil {
		t.Fatal(err)
	}
	state := &monitor.State{At: time.Now(), Service: "mymaster", Nodes: []monitor.NodeState{
		{Addr: "redis:6379", Role: "primary", Up: true, Last: snap, List: snap, Forecast: monitor.Forecast{Exists: true}},
	}}
	if state.Cluster, err = monitor.ParseClusterMap("a1 redis:6379@1 myself,master - 0 0 1 connected 0-8191\nb1 other:6379@1 master - 0 0 2 connected 8192-16383", "", "redis:6379", nil); err != nil {
		t.Fatal(err)
	}
	state.Nodes = append(state.Nodes, monitor.NodeState{Addr: "other:6379", Role: "primary", Up: true, Last: snap})
	servers := respoolprom.NewServers(func() *monitor.State { return state },
		func() []monitor.Alert {
			return []monitor.Alert{{Finding: monitor.Finding{Rule: "down"}, State: monitor.Firing}}
		}, 0)
	registry := prometheus.NewPedanticRegistry()
	clients := serve.NewGatewayMetrics(func() gateway.Stats {
		return gateway.Stats{PinnedBy: map[string]int{"WATCH": 1}, Users: []quota.UserStats{{Name: "app"}}}
	},
		func() serve.Readiness { return serve.Readiness{} })
	registry.MustRegister(pool, servers, clients)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string][]string{}
	for _, f := range families {
		var labels []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, l.GetName())
		}
		if f.GetMetric()[0].Histogram != nil {
			for _, suffix := range []string{"_bucket", "_sum", "_count"} {
				found[f.GetName()+suffix] = append(slices.Clone(labels), "le")
			}
			continue
		}
		if f.GetMetric()[0].Summary != nil {
			found[f.GetName()+"_sum"], found[f.GetName()+"_count"] = labels, labels
			continue
		}
		found[f.GetName()] = labels
	}
	return found
}

// parts are the names in an expression.
type parts struct {
	metrics, labels []string
	left            []string // labels that it leaves out, where they are
}

var (
	inBraces  = regexp.MustCompile(`\{([^}]*)\}`)
	matchers  = regexp.MustCompile(`([a-zA-Z_]\w*)\s*(=~|!~|!=|=)\s*"[^"]*"`)
	grouping  = regexp.MustCompile(`\b(by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)`)
	durations = regexp.MustCompile(`\[[^\]]*\]`)
	numbers   = regexp.MustCompile(`\b[0-9][\w.]*`)
	words     = regexp.MustCompile(`[a-zA-Z_:][\w:]*(\s*\()?`)
	// Prometheus adds the labels of the target.
	ofTarget = []string{"job", "instance", "pod"}
)

// expressionParts extracts the names from PromQL.
func expressionParts(expr string) (p parts) {
	for _, braces := range inBraces.FindAllStringSubmatch(expr, -1) {
		for _, m := range matchers.FindAllStringSubmatch(braces[1], -1) {
			p.labels = append(p.labels, m[1])
		}
	}
	expr = durations.ReplaceAllString(inBraces.ReplaceAllString(expr, ""), "")
	for _, g := range grouping.FindAllStringSubmatch(expr, -1) {
		for l := range strings.SplitSeq(g[2], ",") {
			if l = strings.TrimSpace(l); g[1] == "without" {
				p.left = append(p.left, l)
			} else {
				p.labels = append(p.labels, l)
			}
		}
	}
	expr = numbers.ReplaceAllString(grouping.ReplaceAllString(expr, " ("), "")
	for _, word := range words.FindAllString(expr, -1) {
		keyword := slices.Contains([]string{"and", "or", "unless", "bool", "offset"}, word)
		if !strings.HasSuffix(word, "(") && !keyword {
			p.metrics = append(p.metrics, word)
		}
	}
	return p
}

func TestExpressionsAreTakenApart(t *testing.T) {
	p := expressionParts(`time() - max without (instance) (rate(a_total{b="c", d=~"$e"}[5m])) > 3e2 unless on (x) sum by(y)(z{}) == 1`)
	if fmt.Sprint(p) != "{[a_total z] [b d x y] [instance]}" {
		t.Errorf("%v", p)
	}
}

// checkNames checks that all names of an expression are exported.
func checkNames(t *testing.T, where, expr string, legend ...string) {
	t.Helper()
	shown, p := shownMetrics(t), expressionParts(expr)
	if len(p.metrics) == 0 {
		t.Errorf("%s asks for nothing: %s", where, expr)
	}
	known := slices.Clone(ofTarget)
	for _, m := range p.metrics {
		labels, ok := shown[m]
		if !ok {
			t.Errorf("%s: nobody shows %s", where, m)
		}
		known = append(known, labels...)
	}
	for _, l := range append(p.labels, legend...) {
		if !slices.Contains(known, l) {
			t.Errorf("%s: no metric of it has the label %s", where, l)
		}
	}
	for _, labels := range shown {
		known = append(known, labels...)
	}
	for _, l := range p.left {
		if !slices.Contains(known, l) {
			t.Errorf("%s: no metric has the label %s", where, l)
		}
	}
}
