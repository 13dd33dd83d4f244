package serve

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/tooltest"
)

func TestTheSnapshotCountsWaits(t *testing.T) {
	text, err := json.Marshal(waitsOf(&respool.BlockingStats{Waiting: 3, Keys: 2, Refusal: errors.New("NOPERM"),
		Commands: map[string]respool.BlockingCount{"BLPOP": {Waiting: 3}, "XREAD": {Served: 1}}}))
	if want := `{"waiting":3,"keys":2,"commands":{"BLPOP":3},"dedicated":"NOPERM"}`; err != nil || string(text) != want {
		t.Errorf("%s, %v: want %s", text, err, want)
	}
}

// The pages refuse a name that the configuration lacks, and a reload adds one.
func TestThePagesCheckNames(t *testing.T) {
	file := tooltest.File(t, "respool.yaml", "url: redis://127.0.0.1:1\ntell: []\npage_hosts: [a.example]\nserve: {listen: ['127.0.0.1:0']}\n")
	r := served(t, &Flags{Config: file})
	base := r.log.Until(t, `msg=pages at=(\S+)/`, 1)
	want := func(code int, method, host, path string) {
		t.Helper()
		q, err := http.NewRequestWithContext(t.Context(), method, base+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		q.Host = host
		answer, err := http.DefaultClient.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		if answer.StatusCode != code {
			t.Errorf("%s %s %s: %s: want %d", method, host, path, answer.Status, code)
		}
		if code != http.StatusMisdirectedRequest {
			return
		}
		if text, err := io.ReadAll(answer.Body); err != nil || !strings.Contains(string(text), "add it to page_hosts in the configuration") {
			t.Errorf("%s, %v", text, err)
		}
	}
	for _, path := range []string{"/", "/page/page.js", "/page/stream", "/page/connections", "/page/session", "/api/snapshot", "/api/alerts", "/api/connections"} {
		want(421, "GET", "b.example", path)
	}
	for _, path := range []string{"/page/login", "/page/logout", "/page/act"} {
		want(421, "POST", "b.example", path)
		want(403, "POST", "a.example", path)
	}
	want(200, "GET", "b.example", "/metrics")
	want(200, "GET", "b.example", "/healthz")
	want(503, "GET", "b.example", "/readyz")
	want(200, "GET", "a.example:80", "/")
	tooltest.Rewrite(t, file, "a.example", "b.example")
	r.reload(t, "configuration is active")
	want(421, "GET", "a.example", "/")
	want(200, "GET", "b.example", "/")
	want(200, "GET", "b.example", "/page/stream")
}
