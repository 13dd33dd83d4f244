package page

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// A web site whose name resolves to the address of the page reads nothing. A name of page_hosts shows the page.
func TestTheNameOfAnotherSiteShowsNothing(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	file := filepath.Join(t.TempDir(), "respool.yaml")
	if err := os.WriteFile(file, []byte("url: "+s.URL()+"\ntell: []\npage_hosts: [respool.example]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	url := start(t, "--listen", "watch", "-c", file)
	named := func(name string) string { return strings.Replace(url, "127.0.0.1", name, 1) }
	b := open(t, named("evil.example"))
	if text := b.text(t, "document.body.innerText"); !strings.Contains(text, "evil.example") || !strings.Contains(text, "add it to page_hosts in the configuration") || strings.Contains(text, s.Addr()) {
		t.Error(text)
	}
	for _, path := range []string{"/page/stream", "/api/snapshot", "/api/connections"} {
		if text := b.text(t, `fetch("`+path+`").then(async (r) => r.status + " " + await r.text())`); !strings.HasPrefix(text, "421 ") || strings.Contains(text, s.Addr()) {
			t.Errorf("%s: %s", path, text)
		}
	}
	open(t, named("respool.example")).shows(t, "nodes", s.Addr())
}
