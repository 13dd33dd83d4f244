package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.yaml.in/yaml/v4"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/metrics"
	"github.com/seed-2b0d76a6/respool/monitor"
)

// shownMetrics are the names that the collectors show, each with its labels.
func shownMetrics(t *testing.T) map[string][]string {
	t.Helper()
	pool := metrics.NewPool("orders", nil)
	pool.Watch(func() respool.Stats { return respool.Stats{Addr: "redis:6379"} })
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
	servers := metrics.NewServers(func() *monitor.State { return state },
		func() []monitor.Alert {
			return []monitor.Alert{{Finding: monitor.Finding{Rule: "down"}, State: monitor.Firing}}
		}, 0)
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(pool, servers)
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
		found[f.GetName()] = labels
	}
	return found
}

// parts are what an expression asks for.
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
	// What respool's own labels are read beside: those of the target.
	ofTarget = []string{"job", "instance", "pod"}
)

// expressionParts takes PromQL apart far enough to see its names.
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

// checkNames reports what an expression asks for that nobody shows.
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

func TestRulesAskForWhatIsShown(t *testing.T) {
	for _, r := range allRules() {
		checkNames(t, r.Alert, r.Expr)
	}
}

// printed is the dashboard as Grafana would read it.
func printed(t *testing.T) dashboard {
	t.Helper()
	var text bytes.Buffer
	if err := writeDashboard(&text); err != nil {
		t.Fatal(err)
	}
	var d dashboard
	if err := json.Unmarshal(text.Bytes(), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestDashboardAsksForWhatIsShown(t *testing.T) {
	legends := regexp.MustCompile(`\{\{(\w+)\}\}`)
	for _, p := range printed(t).Panels {
		if p.Type == "row" {
			continue
		}
		if len(p.Targets) == 0 {
			t.Errorf("%s shows nothing", p.Title)
		}
		for _, target := range p.Targets {
			var labels []string
			for _, m := range legends.FindAllStringSubmatch(target.Legend, -1) {
				labels = append(labels, m[1])
			}
			checkNames(t, p.Title, target.Expr, labels...)
		}
	}
	asks := regexp.MustCompile(`^label_values\((.*), (\w+)\)$`)
	for _, v := range printed(t).Templating.List[1:] {
		m := asks.FindStringSubmatch(v.Query)
		if m == nil {
			t.Errorf("%s asks %s", v.Name, v.Query)
			continue
		}
		checkNames(t, v.Name, m[1], m[2])
	}
}

// Prometheus itself reads the queries, as rules.
func TestDashboardAsksInPromQL(t *testing.T) {
	type recording struct {
		Record string `yaml:"record"`
		Expr   string `yaml:"expr"`
	}
	var rules []recording
	for _, p := range printed(t).Panels {
		for _, target := range p.Targets {
			expr := strings.ReplaceAll(target.Expr, "$__rate_interval", "5m")
			rules = append(rules, recording{fmt.Sprintf("p%d:%s", p.ID, target.RefID), expr})
		}
	}
	text, err := yaml.Marshal(map[string]any{"groups": []any{map[string]any{"name": "dashboard", "rules": rules}}})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "rules.yaml"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, dir, "check", "rules", "rules.yaml")
}

func TestDashboardIsLaidOut(t *testing.T) {
	d := printed(t)
	variables := []string{"__rate_interval"}
	for _, v := range d.Templating.List {
		variables = append(variables, v.Name)
	}
	used := regexp.MustCompile(`\$\{?(\w+)`)
	taken, ids, rows := map[[2]int]string{}, map[int]bool{}, 0
	for _, p := range d.Panels {
		if ids[p.ID] {
			t.Errorf("two panels have the id %d", p.ID)
		}
		ids[p.ID] = true
		if p.Type == "row" {
			rows++
		}
		for x := p.Place.X; x < p.Place.X+p.Place.W; x++ {
			for y := p.Place.Y; y < p.Place.Y+p.Place.H; y++ {
				if other, ok := taken[[2]int{x, y}]; ok || x >= dashboardWide {
					t.Fatalf("%s stands over %s%d", p.Title, other, x)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
		for _, target := range p.Targets {
			if target.Datasource.UID != "${datasource}" {
				t.Errorf("%s asks %s", p.Title, target.Datasource.UID)
			}
			for _, m := range used.FindAllStringSubmatch(target.Expr, -1) {
				if !slices.Contains(variables, m[1]) {
					t.Errorf("%s: there is no variable %s", p.Title, m[1])
				}
			}
		}
	}
	if rows != 4 || d.SchemaVersion < 36 || d.UID == "" {
		t.Errorf("%d rows, schema %d, uid %q", rows, d.SchemaVersion, d.UID)
	}
}

func TestDashboardAndRulesHaveHelp(t *testing.T) {
	for command, help := range map[string]string{"dashboard": dashboardCmd{}.Help(), "rules": rulesCmd{}.Help()} {
		if !strings.Contains(help, "Examples:") || !strings.Contains(help, "respool "+command) {
			t.Errorf("%s: %s", command, help)
		}
	}
}
