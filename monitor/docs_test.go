package monitor

import (
	"os"
	"strings"
	"testing"
)

func TestTheDocsHaveEachRule(t *testing.T) {
	raw, err := os.ReadFile("../docs/operate.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range ruleKinds {
		row := ""
		for line := range strings.Lines(string(raw)) {
			if strings.HasPrefix(line, "| `"+k.Name+"` | "+k.Text+" |") {
				row = line
			}
		}
		if !strings.HasSuffix(row, "| "+k.Severity.String()+" |\n") {
			t.Errorf("rule %s: its row is %q", k.Name, row)
		}
	}
}
