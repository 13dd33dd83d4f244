package planfile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/yamlnode"
)

// Any text results in a plan or an error, never in a panic.
func FuzzPlanFile(f *testing.F) {
	files, _ := filepath.Glob("../../testdata/check/*.yaml")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		top, err := yamlnode.Parse("plan.yaml", text, topKeys)
		var p *File
		if err == nil {
			p, err = parse(top)
		}
		if err == nil && len(p.Services) != len(p.Sources) {
			t.Errorf("%d services, %d sources", len(p.Services), len(p.Sources))
		}
		if err != nil && !strings.HasPrefix(err.Error(), "plan.yaml") {
			t.Errorf("%v names no file", err)
		}
	})
}
