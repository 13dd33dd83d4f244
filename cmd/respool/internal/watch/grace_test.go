package watch

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/report"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/tooltest"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// A watch may start before its server. An alert about a server that was seen is not delayed.
func TestAWatchThatStartsBeforeItsServerSendsNoAlert(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	s.Kill()
	hook := tooltest.NewReceiver(t)
	const text = "url: %s\nevery: 20ms\nlist_every: 20ms\ngrace: %s\nrules: {down: {for: 10ms, keep: 10ms}}\ntell: [{webhook: {url: %q}}]\n"
	w := watch(t, fmt.Sprintf(text, s.URL(), "1h", hook.URL))
	testkit.Await(t, "a failed reading", func() report.State { return w.snapshot(t) }, func(r report.State) bool {
		return len(r.Nodes) == 1 && !r.Nodes[0].Up && r.Nodes[0].Error != ""
	})
	if _, alerts := w.get(t, "/api/alerts"); !strings.Contains(alerts, `"alerts": []`) {
		t.Errorf("%s: want no alert", alerts)
	}
	s.Restart()
	testkit.Await(t, "a reading", func() report.State { return w.snapshot(t) }, func(r report.State) bool { return r.Nodes[0].Up })
	s.Kill()
	hook.Until(t, "firing down")
	if got := hook.Told(); !slices.Equal(got, []string{"firing down"}) {
		t.Errorf("%q: want one alert", got)
	}
	// After the grace, a server that never answered is down.
	late := tooltest.NewReceiver(t)
	watch(t, fmt.Sprintf(text, s.URL(), "50ms", late.URL))
	late.Until(t, "firing down")
}
