package monitoring

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"text/template"

	"go.yaml.in/yaml/v4"
)

// promtool runs Prometheus' promtool in a directory.
func promtool(t *testing.T, dir string, args ...string) {
	t.Helper()
	path, err := exec.LookPath("promtool")
	if err != nil {
		t.Fatal("promtool is not there: ./scripts/deps.sh installs it")
	}
	cmd := exec.Command(path, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// ruleDir is a directory with the printed rules.
func ruleDir(t *testing.T, job string) string {
	t.Helper()
	var text bytes.Buffer
	if err := WriteRules(&text, job); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "rules.yaml"), text.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func allRules() (list []alertRule) {
	for _, g := range newRuleFile("").Groups {
		list = append(list, g.Rules...)
	}
	return list
}

func TestRulesAreRulesOfPrometheus(t *testing.T) {
	promtool(t, ruleDir(t, ""), "check", "rules", "rules.yaml")
	promtool(t, ruleDir(t, "redis monitor's"), "check", "rules", "rules.yaml")
}

// testdata/rules_test.yaml has the series.
func TestRulesFireAndResolve(t *testing.T) {
	cases, err := os.ReadFile("testdata/rules_test.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, job := range []string{"", "respool"} {
		dir := ruleDir(t, job)
		if err := os.WriteFile(filepath.Join(dir, "test.yaml"), cases, 0o600); err != nil {
			t.Fatal(err)
		}
		promtool(t, dir, "test", "rules", "test.yaml")
	}
	for _, r := range allRules() {
		if !strings.Contains(string(cases), `alertname="`+r.Alert+`"`) {
			t.Errorf("nothing lets %s fire", r.Alert)
		}
	}
}

func TestRulesOfAJobAskForNoOther(t *testing.T) {
	for _, g := range newRuleFile("watch").Groups {
		for _, r := range g.Rules {
			of := strings.Count(r.Expr, `{job="watch"}`)
			if want := len(regexp.MustCompile(`respool_(server|service|cluster|monitor|occupancy|exhaustion)_`).FindAllString(r.Expr, -1)); of != want {
				t.Errorf("%s asks %d of %d times for the job: %s", r.Alert, of, want, r.Expr)
			}
		}
	}
}

func TestRulesSayWhatToDo(t *testing.T) {
	command := regexp.MustCompile(`(respool (who|doctor|plan|ping)|redis-cli) \S`)
	for _, r := range allRules() {
		switch r.Labels["severity"] {
		case "page", "ticket", "warn":
		default:
			t.Errorf("%s: the severity is %q", r.Alert, r.Labels["severity"])
		}
		if !command.MatchString(r.Annotations.Description) {
			t.Errorf("%s names no command to run next: %s", r.Alert, r.Annotations.Description)
		}
		labels := map[string]string{"instance": "some-instance"} // Prometheus adds it
		for _, m := range expressionParts(r.Expr).metrics {
			if !strings.HasPrefix(m, "respool_gateway_") {
				delete(labels, "instance") // the rules leave it out
			}
			for _, l := range shownMetrics(t)[m] {
				labels[l] = "some-" + l
			}
		}
		for _, text := range []string{r.Annotations.Summary, r.Annotations.Description} {
			if text == "" {
				t.Errorf("%s lacks a text", r.Alert)
			}
			if said := expanded(t, text, labels); strings.Contains(said, "no value") {
				t.Errorf("%s: no metric has the label: %s", r.Alert, said)
			}
		}
	}
}

// expanded expands a template as Prometheus does.
func expanded(t *testing.T, text string, labels map[string]string) string {
	t.Helper()
	same := func(v float64) float64 { return v }
	tmpl, err := template.New("").Funcs(template.FuncMap{"humanizePercentage": same, "humanizeDuration": same}).
		Parse("{{ $labels := .labels }}{{ $value := .value }}" + text)
	if err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	missing := map[string]any{}
	for k, v := range labels {
		missing[k] = v
	}
	if err := tmpl.Execute(&said, map[string]any{"labels": missing, "value": 0.5}); err != nil {
		t.Fatal(err)
	}
	return said.String()
}

func TestRulesPrintAsTheyAre(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(ruleDir(t, ""), "rules.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var back ruleFile
	if err := yaml.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, g := range back.Groups {
		n += len(g.Rules)
	}
	if want := len(allRules()); n != want || n < 10 {
		t.Errorf("%d rules are printed: want %d", n, want)
	}
}

func TestRulesAreInTheDocs(t *testing.T) {
	text, err := os.ReadFile("../../../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `(Respool\\w+)` \\| (\\w+) \\|").FindAllStringSubmatch(string(text), -1) {
		listed[m[1]] = m[2]
	}
	for _, r := range allRules() {
		if listed[r.Alert] != r.Labels["severity"] {
			t.Errorf("%s is listed as %q: want %s", r.Alert, listed[r.Alert], r.Labels["severity"])
		}
	}
	if len(listed) != len(allRules()) {
		t.Errorf("%d alerts are listed: want %d", len(listed), len(allRules()))
	}
}
