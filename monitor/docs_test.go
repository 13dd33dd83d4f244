package monitor

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

func TestTheDocsHaveEachRule(t *testing.T) {
	raw, err := os.ReadFile("../docs/operate.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range ruleKinds {
		cells := []string{"`" + k.Name + "`", k.Text, limitCell(&k), timeCell(k.For), timeCell(k.Keep), k.Severity.String()}
		if want := "| " + strings.Join(cells, " | ") + " |\n"; !strings.Contains(string(raw), want) {
			t.Errorf("docs/operate.md has no row %s", want)
		}
	}
}

func limitCell(k *ruleKind) string {
	switch k.Unit {
	case "":
		return ""
	case "share":
		return fmt.Sprintf("%.0f%%", 100*k.Limit)
	case "hours":
		return fmt.Sprintf("%.0f h", k.Limit)
	}
	return fmt.Sprintf("%.0f %s", k.Limit, k.Unit)
}

func timeCell(d time.Duration) string {
	switch {
	case d == 0:
		return "at once"
	case d%time.Minute != 0:
		return fmt.Sprintf("%.0f s", d.Seconds())
	}
	return fmt.Sprintf("%.0f min", d.Minutes())
}
