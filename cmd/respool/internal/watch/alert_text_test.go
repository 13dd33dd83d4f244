package watch

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/page"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/tooltest"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// outage is a webhook that fails at first, and records the posted documents.
type outage struct {
	*httptest.Server
	mu       sync.Mutex
	up       bool
	attempts int
	got      string
}

func startOutage(t *testing.T) *outage {
	o := &outage{}
	o.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.attempts++; !o.up {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		o.got += string(body)
	}))
	t.Cleanup(o.Close)
	return o
}

func (o *outage) read(t *testing.T, what string, ok func() bool) {
	t.Helper()
	testkit.Eventually(t, what, func() bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		return ok()
	})
}

func (w *watching) alerts(t *testing.T) (r page.Alerts) {
	t.Helper()
	_, body := w.get(t, "/api/alerts")
	if err := json.Unmarshal([]byte(body), &r); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	return r
}

// An alert that a receiver got late has the numbers of that moment, not those of its beginning.
func TestALateAlertHasItsPresentText(t *testing.T) {
	s := redistest.Start(t, redistest.Config{MaxClients: 20})
	hook := startOutage(t)
	full := &tooltest.Crowd{T: t, Addr: s.PlainAddr(), Name: "full:1:main"}
	full.Add(17)
	defer full.Close()
	w := watch(t, fmt.Sprintf("url: %s\nevery: 20ms\nlist_every: 20ms\nrules: {occupancy-critical: {for: 10ms}, occupancy-high: off, new-connections: off, no-reuse: off}\ntell: [{webhook: {url: %q}}]\n", s.URL(), hook.URL))
	hook.read(t, "an attempt", func() bool { return hook.attempts > 0 })
	text := func() string {
		if r := w.alerts(t); len(r.Alerts) == 1 {
			return r.Alerts[0].What
		}
		return ""
	}
	before := text()
	full.Add(1)
	now := testkit.Await(t, "another text than "+before, text, func(text string) bool { return text != before })
	hook.mu.Lock()
	hook.up = true
	hook.mu.Unlock()
	hook.read(t, "a delivery", func() bool { return hook.got != "" })
	if !strings.Contains(hook.got, `"what":"`+now+`"`) || strings.Contains(hook.got, before) {
		t.Errorf("got %s: want %s", hook.got, now)
	}
}

func TestAPendingAlertIsInTheVerdict(t *testing.T) {
	s := redistest.Start(t, redistest.Config{MaxClients: 20})
	full := &tooltest.Crowd{T: t, Addr: s.PlainAddr(), Name: "full:1:main"}
	full.Add(18)
	defer full.Close()
	w := watch(t, fmt.Sprintf("url: %s\nevery: 20ms\nlist_every: 20ms\nrules: {occupancy-critical: {for: 1h}, occupancy-high: {for: 1h}, new-connections: off, no-reuse: off}\ntell: [log]\n", s.URL()))
	want := "no alert yet; pending (1 page, 1 ticket): occupancy-critical: "
	testkit.Await(t, want, func() string { return w.alerts(t).Verdict }, func(v string) bool {
		return strings.HasPrefix(v, want) && strings.HasSuffix(v, "% of maxclients is in use at "+s.Addr())
	})
}
