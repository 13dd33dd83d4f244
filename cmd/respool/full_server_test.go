//go:build unix

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/clients"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/doctor"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/tooltest"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/clustertest"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
	"github.com/seed-2b0d76a6/respool/monitor"
)

// asks runs a command, decodes its JSON, and checks the exit code.
func asks[T any](t *testing.T, want int, args ...string) (v T) {
	t.Helper()
	code, out, errs := call(t, append(args, "--json")...)
	if err := json.Unmarshal([]byte(out), &v); err != nil || code != want {
		t.Fatalf("%q: exit %d, %v: %s%s: want %d", args, code, err, out, errs, want)
	}
	return v
}

// fill opens connections until the server is full.
func fill(t *testing.T, s *redistest.Server, name string) *tooltest.Crowd {
	t.Helper()
	c := &tooltest.Crowd{T: t, Addr: s.PlainAddr(), Name: name}
	t.Cleanup(c.Close)
	for c.Add(1) == 1 {
	}
	return c
}

// whenFull checks that the commands work through a process that was connected before, and that nothing else does.
func whenFull(t *testing.T, s *redistest.Server, pages, socket string) {
	t.Helper()
	for _, args := range [][]string{{"doctor"}, {"who"}, {"ping"}, {"kill", "--service", "cart"}} {
		code, out, errs := call(t, append(args, s.URL())...)
		if code != 2 || out != "" || !strings.Contains(errs, "respool who http://HOST:8637") || !strings.Contains(errs, "--wait 60s") {
			t.Errorf("%q: exit %d: %s%s: want the ways to a full server", args, code, out, errs)
		}
	}
	for _, url := range []string{pages, socket} {
		d := asks[doctor.Report](t, 1, "doctor", url, "--for", "100ms")
		if *d.Connections != d.MaxClients || !strings.Contains(rules(&d), "occupancy-critical") || d.Holders[0].Service != "cart" || d.Held != url {
			t.Errorf("%s: %+v", url, d)
		}
		w := asks[clients.HoldersReport](t, 1, "who", url, "--by", "service,cmd")
		if w.Groups[0].Key[0] != "cart" || w.Groups[0].Clients < 5 || int64(w.Connections) != w.MaxClients || w.Addr != s.Addr() {
			t.Errorf("%s: %+v", url, w)
		}
	}
	code, out, errs := call(t, "kill", pages, "--service", "cart", "--yes")
	if code != 2 || out != "" || !strings.Contains(errs, "have no login, so they close nothing: use the Unix socket of that process: respool kill "+socket) {
		t.Errorf("exit %d: %s%s: want no kill over the pages", code, out, errs)
	}
	answer, err := http.Post(pages+"/api/kill?node="+s.Addr()+"&id=1", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusNotFound {
		t.Errorf("%s: want no page for kill", answer.Status)
	}
	if code, out, _ := call(t, "who", pages); code == 2 || !strings.Contains(out, ", through "+pages+"\n") {
		t.Errorf("exit %d: %s", code, out)
	}
	k := asks[clients.KillReport](t, 0, "kill", socket, "--service", "cart", "--yes", "--max", "3", "--rate", "1000")
	if k.Closed != 3 || k.Left != k.Matching-3 {
		t.Errorf("%+v", k)
	}
	if w := asks[clients.HoldersReport](t, 1, "who", s.URL()); w.Groups[0].Clients != k.Left {
		t.Errorf("%+v: want %d connections", w, k.Left)
	}
	// It does not close the connection that it uses.
	if k := asks[clients.KillReport](t, 0, "kill", socket, "--addr", "127.0.0.1", "--yes", "--rate", "1000"); k.Closed != k.Matching || k.Closed == 0 {
		t.Errorf("%+v", k)
	}
	asks[clients.HoldersReport](t, 0, "who", socket)
}

func textOf(t *testing.T, url string) string {
	t.Helper()
	answer, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestAFullServerIsReachedThroughItsWatch(t *testing.T) {
	s := redistest.Start(t, redistest.Config{MaxClients: 20, Users: []string{"watch on >sesame ~* &* +@all"}})
	hook := tooltest.NewReceiver(t)
	path := filepath.Join(t.TempDir(), "w.sock")
	w := startWatch(t, fmt.Sprintf("url: %s\nlisten: 127.0.0.1:0\nsocket: unix://%s\nevery: 50ms\nrules: {occupancy-critical: {for: 10ms}}\ntell: [{webhook: {url: %q}}]\n", "redis://watch:sesame@"+s.Addr(), path, hook.URL))
	pages := w.log.Until(t, `msg=pages at=(\S+)/`, 1)
	socket := w.log.Until(t, `msg=socket at=(\S+)`, 1)
	if want := "http+unix://" + path; socket != want {
		t.Errorf("%s: want %s", socket, want)
	}
	testkit.Eventually(t, "the first reading", func() bool { code, _, _ := call(t, "who", pages); return code == 0 })
	fill(t, s, "cart:1:main")
	hook.Until(t, "firing occupancy-critical")
	hook.Until(t, "firing rejected")
	for _, a := range hook.Got {
		for _, want := range []string{"respool who " + pages, "respool kill " + socket + " --service NAME"} {
			if strings.HasPrefix(a.Rule, "occupancy") && !strings.Contains(a.Remedy, want) {
				t.Errorf("%s: %s: want %s", a.Rule, a.Remedy, want)
			}
		}
	}
	if body := testkit.Await(t, "the connections", func() string { return textOf(t, pages+"/api/connections") },
		func(body string) bool { return strings.Contains(body, "name=cart") }); strings.Contains(body, "sesame") {
		t.Errorf("%s: want no password", body)
	}
	whenFull(t, s, pages, socket)
	w.end(t)
}

func TestAFullServerIsReachedThroughItsGateway(t *testing.T) {
	s := redistest.Start(t, redistest.Config{MaxClients: 20})
	path := filepath.Join(t.TempDir(), "g.sock")
	p := startProcess(t, nil, nil, "serve", s.URL()+"?max_connections=2", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--socket", "unix://"+path)
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	pages := p.log.Until(t, `msg=pages at=(\S+)/`, 1)
	testkit.Eventually(t, "the first reading", func() bool { code, _, _ := call(t, "who", pages); return code == 0 })
	fill(t, s, "cart:1:main")
	whenFull(t, s, pages, "http+unix://"+path)
	p.end(t)
}

// With --wait, a command waits until the server has a free connection.
func TestCommandsWaitForAFreeConnection(t *testing.T) {
	s := redistest.Start(t, redistest.Config{MaxClients: 20})
	for _, args := range [][]string{{"doctor", "--for", "100ms"}, {"who"}, {"ping"}, {"kill", "--service", "none"}} {
		crowd := fill(t, s, "cart:1:main")
		refused := func() int { n, _ := strconv.Atoi(s.Info("stats")["rejected_connections"]); return n }
		before := refused()
		freed := make(chan struct{})
		go func() {
			defer close(freed)
			testkit.Eventually(t, "a refused connection", func() bool { return refused() >= before+2 })
			crowd.Close()
		}()
		code, out, errs := call(t, append(args, s.URL(), "--wait", "60s")...)
		<-freed
		if code == 2 || out == "" || !strings.HasPrefix(errs, "respool: the server is full; waiting up to 1m0s for a free connection\n") {
			t.Errorf("%q: exit %d: %s%s", args, code, out, errs)
		}
		s.WaitClients(t, 0, tooltest.Patience)
	}
	for args, want := range map[string]string{
		"who redis://x --wait=-1s":                     "--wait is -1s",
		"who http://127.0.0.1:1":                       "want the address of a running respool watch or respool serve",
		"doctor http://u:secret@h":                     "take neither a user nor options",
		"doctor http+unix://w.sock":                    "with three slashes",
		"ping http://127.0.0.1:1":                      "want redis, rediss or unix",
		"who http://127.0.0.1:1 --credentials env:X":   "that process has its own credentials",
		"watch redis://x --socket 127.0.0.1:1":         "--socket is \"127.0.0.1:1\": want unix:///path?mode=0600",
		"serve redis://x --socket unix:///x?mode=0888": "--socket is",
	} {
		code, out, errs := call(t, strings.Fields(args)...)
		if code != 2 || !strings.Contains(errs, want) || strings.Contains(errs, "secret") {
			t.Errorf("%s: exit %d: %s%s: want %q", args, code, out, errs, want)
		}
	}
}

// All nodes of a cluster are read through its watch.
func TestAClusterIsReadThroughItsWatch(t *testing.T) {
	c := clustertest.Start(t, clustertest.Config{})
	w := startWatch(t, fmt.Sprintf("url: %q\nlisten: 127.0.0.1:0\nevery: 50ms\ntell: []\n", c.URL()))
	pages := w.log.Until(t, `msg=pages at=(\S+)/`, 1)
	testkit.Eventually(t, "a reading of all nodes", func() bool {
		code, out, _ := call(t, "who", pages)
		return code == 0 && strings.Contains(out, "on 6 of 6 nodes")
	})
	r := asks[doctor.Report](t, 0, "doctor", pages, "--for", "100ms")
	if worst, some := monitor.Worst(r.Findings); some && worst > monitor.Note || r.Cluster == nil || r.Cluster.Covered != monitor.ClusterSlots || r.Cluster.Primaries != 3 || len(r.Nodes) != 6 {
		t.Errorf("%+v", r)
	}
	w.end(t)
}

// The primary and the replicas of a Sentinel service are read through its watch.
func TestAServiceIsReadThroughItsWatch(t *testing.T) {
	set := redistest.StartSentinels(t, redistest.SentinelConfig{})
	w := startWatch(t, fmt.Sprintf("url: %q\nlisten: 127.0.0.1:0\nevery: 50ms\ntell: []\n", set.URL()))
	pages := w.log.Until(t, `msg=pages at=(\S+)/`, 1)
	testkit.Eventually(t, "a reading of all nodes", func() bool {
		code, out, _ := call(t, "who", pages)
		return code == 0 && strings.Contains(out, "on 3 of 3 nodes")
	})
	r := asks[doctor.Report](t, 0, "doctor", pages, "--for", "100ms")
	roles := map[string]int{}
	for _, n := range r.Nodes {
		roles[n.Role]++
	}
	if roles["primary"] != 1 || roles["replica"] != 2 || r.Cluster != nil || r.Held != pages || !strings.Contains(r.Verdict, "on 3 of 3 nodes") {
		t.Errorf("%+v", r)
	}
	w.end(t)
}

// A gateway whose user may not close connections says which right it lacks.
func TestKillThroughAGatewayNamesTheMissingRight(t *testing.T) {
	s := redistest.Start(t, redistest.Config{Users: []string{"app on >sesame ~* &* +@all -client +client|list +client|setname +client|tracking"}})
	path := filepath.Join(t.TempDir(), "g.sock")
	p := startProcess(t, nil, nil, "serve", "redis://app:sesame@"+s.Addr()+"?max_connections=2", "--listen", "127.0.0.1:0", "--http", "off", "--socket", "unix://"+path)
	socket := "http+unix://" + path
	testkit.Eventually(t, "the first reading", func() bool { code, _, _ := call(t, "who", socket); return code == 0 })
	tooltest.Hold(t, s, "cart:1:main", 3, 0)
	code, out, errs := call(t, "kill", socket, "--service", "cart", "--yes")
	if code != 2 || !strings.Contains(errs, "the server refuses CLIENT KILL (NOPERM): grant the right +client|kill") || !strings.Contains(out, "closed 0 of 3") || strings.Contains(out+errs, "sesame") {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
	p.end(t)
}

// Top has connections of its own: it names what to use instead.
func TestTopNamesTheCommandsForARunningWatch(t *testing.T) {
	code, out, errs := call(t, "top", "http://127.0.0.1:8637")
	if code != 2 || out != "" || !strings.Contains(errs, "respool doctor http://127.0.0.1:8637, respool who http://127.0.0.1:8637") {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
}
