package gateway

import (
	"os"
	"slices"
	"strings"
	"testing"
)

func TestTheDocsListEachConsoleCommand(t *testing.T) {
	raw, err := os.ReadFile("../../docs/gateway.md")
	if err != nil {
		t.Fatal(err)
	}
	_, list, _ := strings.Cut(string(raw), "`RESPOOL HELP | ")
	list, _, found := strings.Cut(list, "`")
	if !found {
		t.Fatal("docs/gateway.md has no list that begins with RESPOOL HELP")
	}
	var listed []string
	for _, usage := range strings.Split(list, " | ") {
		name, _, _ := strings.Cut(usage, " ")
		listed = append(listed, name)
	}
	var want []string
	for _, cmd := range consoleCommands {
		want = append(want, cmd.name)
	}
	if !slices.Equal(listed, want) {
		t.Errorf("docs/gateway.md lists %v: want HELP and %v", listed, want)
	}
}
