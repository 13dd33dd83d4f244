package live

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"
)

func TestTheFilesOfOthersAreUnchanged(t *testing.T) {
	origin, err := files.ReadFile("assets/ORIGIN.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"uPlot.iife.min.js", "uPlot.min.css", "uPlot.LICENSE"} {
		text, err := files.ReadFile("assets/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if line := fmt.Sprintf("%x  %s", sha256.Sum256(text), name); !strings.Contains(string(origin), line) {
			t.Errorf("assets/ORIGIN.md lacks %s", line)
		}
	}
}
