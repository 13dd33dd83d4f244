package respoolotel_test

import (
	"os"
	"regexp"
	"testing"

	"github.com/seed-2b0d76a6/respool"
)

func TestDocsListOpenTelemetrysNames(t *testing.T) {
	text, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\| `([\\w.]+)` \\|").FindAllSubmatch(text, -1) {
		listed[string(m[2])] = string(m[1])
	}
	pools := busyPools(t)
	_, read := instruments(t, pools...)
	pools[0].OnEvent(respool.Event{Kind: respool.EventDialed})
	pools[0].OnEvent(respool.Event{Kind: respool.EventReleased, Class: "dedicated"})
	pools[0].OnEvent(respool.Event{Kind: respool.EventWaitEnded})
	found := read()
	for name, m := range found {
		if listed[name] != promName(m) {
			t.Errorf("%s is listed as %q: want %s", name, listed[name], promName(m))
		}
	}
	if len(listed) != len(found) {
		t.Errorf("%d names are listed: want %d", len(listed), len(found))
	}
}
