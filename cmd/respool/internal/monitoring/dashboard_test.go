package monitoring

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

	"go.yaml.in/yaml/v4"
)

func TestRulesAskForWhatIsShown(t *testing.T) {
	for _, r := range allRules() {
		checkNames(t, r.Alert, r.Expr)
	}
}

// printed is the dashboard as Grafana reads it.
func printed(t *testing.T) dashboard {
	t.Helper()
	var text bytes.Buffer
	if err := WriteDashboard(&text); err != nil {
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

// promtool parses the queries as rules.
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
				if other, ok := taken[[2]int{x, y}]; ok || x >= dashboardWidth {
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
	if rows != 7 || d.SchemaVersion < 36 || d.UID == "" {
		t.Errorf("%d rows, schema %d, uid %q", rows, d.SchemaVersion, d.UID)
	}
}
