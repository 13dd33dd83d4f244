package watch

import (
	"bufio"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"

	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// calls counts the commands that a server has executed, without the checks that connections make at intervals.
func calls(s *redistest.Server) map[string]int {
	all := map[string]int{}
	for line := range strings.Lines(s.Do("INFO", "commandstats")) {
		name, fields, ok := strings.Cut(strings.TrimPrefix(line, "cmdstat_"), ":calls=")
		if n := 0; ok && name != "ping" && name != "echo" {
			_, _ = fmt.Sscanf(fields, "%d", &n)
			all[name] = n
		}
	}
	return all
}

// nextView reads a stream up to its next snapshot.
func nextView(t *testing.T, in *bufio.Reader) {
	t.Helper()
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(line, "event: view") {
			return
		}
	}
}

// The watch reads its server once. Then each further snapshot for tabs is made of what it has read.
func TestTabsSendTheServerNothing(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	w := watch(t, "url: "+s.URL()+"\nevery: 1h\nlist_every: 1h\n")
	testkit.Eventually(t, "a reading", func() bool {
		_, body := w.get(t, "/api/snapshot")
		return strings.Contains(body, `"up": true`)
	})
	open := func() *bufio.Reader {
		r, err := http.Get(w.base + "/page/stream")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.Body.Close() })
		return bufio.NewReader(r.Body)
	}
	w.watcher.mu.Lock()
	observe := w.watcher.observe
	w.watcher.mu.Unlock()
	// refresh makes snapshots, and returns the commands that the server executed for each.
	refresh := func(snapshots, stay, others int) map[string]int {
		var tabs []*bufio.Reader
		for range stay {
			tabs = append(tabs, open())
			nextView(t, tabs[len(tabs)-1])
		}
		before := calls(s)
		for range snapshots {
			observe(w.watcher.State(), nil)
			for _, tab := range tabs {
				nextView(t, tab)
			}
			for range others { // more tabs of one host connect again for each snapshot
				nextView(t, open())
			}
		}
		after := calls(s)
		maps.DeleteFunc(after, func(name string, n int) bool { return n == before[name] })
		for name := range after {
			after[name] -= before[name]
		}
		return after
	}
	without, with := refresh(3, 0, 0), refresh(3, 4, 6)
	if want := map[string]int{"info": 1}; !maps.Equal(without, want) || !maps.Equal(with, want) { // that of the test
		t.Errorf("the server executed %v without tabs and %v with ten: want %v", without, with, want)
	}
	// The count sees what it has to: a click on a row is the exception.
	_, _ = w.get(t, "/page/connections?by=service&key=cart&node="+s.Addr())
	if n := calls(s)["client|list"]; n != 2 {
		t.Errorf("%d lists after a click: want 2", n)
	}
}
