//go:build unix

package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/clients"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/doctor"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/page"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/report"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/tooltest"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// storm opens short connections until it is stopped: each lives for 20 ms, five at a time.
func storm(addr, name string) (stop func()) {
	end := make(chan struct{})
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() {
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			for {
				conn, err := net.Dial("tcp", addr)
				if err == nil {
					_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
					fmt.Fprintf(conn, "CLIENT SETNAME %s\r\nGET x\r\n", name)
					_, _ = conn.Read(make([]byte, 64))
				}
				select {
				case <-end:
				case <-tick.C:
				}
				if err == nil {
					conn.Close()
				}
				select {
				case <-end:
					return
				default:
				}
			}
		})
	}
	return func() { close(end); wg.Wait() }
}

// A leak, a storm and a fixed pool on one server.
func TestALeakAStormAndAFixedPool(t *testing.T) {
	s := redistest.Start(t, redistest.Config{MaxClients: 500})
	fixed := &tooltest.Crowd{T: t, Addr: s.PlainAddr(), Name: "fixed:pod-1:main"}
	fixed.Add(40)
	defer fixed.Close()
	leak := &tooltest.Crowd{T: t, Addr: s.PlainAddr(), Name: "leaky:pod-1:main"}
	defer leak.Close()
	hook := tooltest.NewReceiver(t)
	plan := tooltest.File(t, "plan.yaml", "server: {maxclients: 500}\nservices:\n  leaky: {pods: 1, surge: 0%, max_connections: 100}\n  fixed: {pods: 1, surge: 0%, max_connections: 50}\n")
	w := startWatch(t, fmt.Sprintf(`
url: %s
listen: 127.0.0.1:0
every: 50ms
list_every: 100ms
plan: %s
rules:
  new-connections: {limit: 60, for: 300ms, keep: 10s} # a full server refuses the storm too
  no-reuse: off
  ceiling: {for: 100ms, keep: 100ms}
  occupancy-high: {for: 200ms, keep: 200ms}
  occupancy-critical: {for: 200ms, keep: 200ms}
  rejected: {keep: 300ms}
tell: [{webhook: {url: %q}}]
`, s.URL(), plan, hook.URL))

	stopStorm := storm(s.PlainAddr(), "stormy:pod-1:main")
	defer func() {
		if stopStorm != nil {
			stopStorm()
		}
	}()
	hook.Until(t, "firing new-connections")
	leak.Add(60)
	checkDoctor(t, s.URL(), leak)
	leak.Add(100)
	hook.Until(t, "firing ceiling leaky")
	checkWho(t, s, leak)
	leak.Add(110)
	hook.Until(t, "firing occupancy-high")
	leak.Add(90)
	hook.Until(t, "firing occupancy-critical")
	if in := leak.Add(200); in >= 200 {
		t.Errorf("all %d were let in", in)
	}
	hook.Until(t, "firing rejected")

	// The server is full, and the watch continues.
	if r := pageOf[report.State](t, w, "/api/snapshot"); len(r.Nodes) != 1 || !r.Nodes[0].Up || *r.Nodes[0].Connections < 490 || time.Since(r.At) > 30*time.Second {
		t.Errorf("%+v", r)
	}
	if r := pageOf[page.Alerts](t, w, "/api/alerts"); !strings.HasPrefix(r.Verdict, "critical (2 page, 1 ticket, 2 warn)") {
		t.Errorf("%s", r.Verdict)
	}
	stopStorm()
	stopStorm = nil
	leak.Add(50) // the places that the storm left
	code, _, errs := call(t, "doctor", s.URL(), "--for", "100ms")
	if code != 2 || !strings.Contains(errs, "max number of clients reached") {
		t.Errorf("exit %d: %s", code, errs)
	}
	leak.Close()
	for _, what := range []string{"rejected", "occupancy-critical", "occupancy-high", "ceiling leaky", "new-connections"} {
		hook.Until(t, "resolved "+what)
	}
	w.end(t)
	checkStory(t, hook)
}

// checkStory checks that each alert was sent once when it fired and once when it was resolved, in
// order.
func checkStory(t *testing.T, hook *tooltest.Receiver) {
	t.Helper()
	told := hook.Told()
	want := []string{"firing new-connections", "firing ceiling leaky", "firing occupancy-high", "firing occupancy-critical", "firing rejected"}
	if len(told) != 10 || !slices.Equal(told[:5], want) {
		t.Errorf("told %q", told)
	}
	for _, a := range hook.Got {
		if a.What == "" || a.Evidence == "" || a.Remedy == "" || a.Node == "" {
			t.Errorf("%+v", a)
		}
	}
	text := fmt.Sprintf("%+v", hook.Got)
	for _, w := range []string{"held by leaky", "most of them by stormy", "leaky has 1"} {
		if !strings.Contains(text, w) {
			t.Errorf("no %q in what was told", w)
		}
	}
}

// checkDoctor checks that doctor names all three services rightly while the leak grows.
func checkDoctor(t *testing.T, url string, leak *tooltest.Crowd) {
	t.Helper()
	end := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for range 30 {
			leak.Add(2)
			select {
			case <-end:
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
	})
	r := doctorJSON(t, exitFindings, url, "--for", "2s")
	close(end)
	wg.Wait()
	text := fmt.Sprintf("%+v", r.Findings)
	for _, w := range []string{"leaky opens", "most of them by stormy"} {
		if !strings.Contains(text, w) {
			t.Errorf("no %q in %s", w, text)
		}
	}
	if strings.Contains(text, "fixed") {
		t.Errorf("the fixed pool is blamed: %s", text)
	}
	holders := map[string]doctor.Holder{}
	for _, h := range r.Holders {
		holders[h.Service] = h
	}
	if h := holders["fixed"]; h.Clients != 40 || *h.Change != 0 {
		t.Errorf("the fixed pool: %+v", h)
	}
	if h := holders["leaky"]; h.Clients < 60 || *h.Change < 60 {
		t.Errorf("the leak: %+v", h)
	}
}

// checkWho checks that the sums of who and of CLIENT LIST agree.
func checkWho(t *testing.T, s *redistest.Server, leak *tooltest.Crowd) {
	t.Helper()
	code, out, errs := call(t, "who", s.URL(), "--json")
	var r clients.HoldersReport
	if err := json.Unmarshal([]byte(out), &r); err != nil || code != 0 {
		t.Fatalf("exit %d, %v: %s%s", code, err, out, errs)
	}
	n := map[string]int{}
	sum := 0
	for _, g := range r.Groups {
		n[g.Key[0]] = g.Clients
		sum += g.Clients
	}
	if n["leaky"] != len(leak.Open) || n["leaky"] != strings.Count(s.Do("CLIENT", "LIST"), "name=leaky:") || n["fixed"] != 40 || sum != r.Connections {
		t.Errorf("%+v, of %d", n, len(leak.Open))
	}
}

// startWatch runs respool watch in a process of its own.
func startWatch(t *testing.T, config string) *process {
	t.Helper()
	p := startProcess(t, nil, nil, "watch", "-c", tooltest.File(t, "respool.yaml", config))
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	return p
}

// pageOf reads a page of a process.
func pageOf[T any](t *testing.T, p *process, path string) (v T) {
	t.Helper()
	answer, err := http.Get(p.log.Until(t, `msg=pages at=(\S+)/`, 1) + path)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if err := json.NewDecoder(answer.Body).Decode(&v); err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", path, answer.Status, err)
	}
	return v
}
