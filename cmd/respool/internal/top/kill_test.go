package top

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	tea "charm.land/bubbletea/v2"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/clients"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/tooltest"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
	"github.com/seed-2b0d76a6/respool/monitor"
)

// lastLine is the last line of a screen.
func lastLine(m model) string {
	lines := strings.Split(shows(m), "\n")
	return lines[len(lines)-1]
}

func TestTopAsksBeforeItCloses(t *testing.T) {
	var closed []target
	m := screen(oneServer(t), 120, 24, "down")
	m.kill = func(t target) tea.Msg { closed = append(closed, t); return closedMsg{target: t} }
	run := func(m model, key string) model {
		next, cmd := m.Update(pressOf(key))
		if m = next.(model); cmd != nil {
			next, _ = m.Update(cmd())
			m = next.(model)
		}
		return m
	}
	const question = "close 118 connections of cart? y closes them, any other key does not"
	for _, key := range []string{"n", "esc", "k", "q", "down", "enter", "/", "space", "b"} {
		asked := run(m, "k")
		if got := lastLine(asked); got != question {
			t.Errorf("%q", got)
		}
		after := run(asked, key)
		if got := lastLine(after); got != "? keys  q quit" || after.at != 1 || after.details || after.by != 0 || after.paused || len(closed) > 0 {
			t.Errorf("%s: %q, %+v: want no effect", key, got, closed)
		}
	}
	// The question is about the row of its time, and not about the one that is selected later.
	asked := run(run(m, "enter"), "k")
	next, _ := asked.Update(stateMsg{&monitor.State{At: noon}})
	done := run(next.(model), "y")
	want := target{"10.0.0.1:6379", clients.GroupKey{Field: "service", Key: "cart"}, "cart", 118, true}
	if len(closed) != 1 || closed[0] != want {
		t.Errorf("%+v: want %+v", closed, want)
	}
	if got := lastLine(done); got != "closed 0 of 118" || done.closing != nil {
		t.Errorf("%q", got)
	}
	if got := lastLine(run(done, "?")); strings.Contains(got, "closed") {
		t.Errorf("%q: want the keys", got)
	}
	if got := lastLine(run(run(m, "b"), "k")); got != "close 157 connections of address 10.0.0.1? y closes them, any other key does not" {
		t.Errorf("%q", got)
	}
	if got := lastLine(run(run(m, "end"), "k")); got != "gone has no connections" {
		t.Errorf("%q", got)
	}
	if got := lastLine(screen(&monitor.State{At: noon}, 80, 24, "k")); got != "no row is selected" {
		t.Errorf("%q", got)
	}
	// Of several nodes, the question names the one on which it closes.
	several := *oneServer(t)
	several.Nodes = append(slices.Clone(several.Nodes), monitor.NodeState{Addr: "10.0.0.2:6379"})
	if got := lastLine(run(screen(&several, 120, 24, "down"), "k")); got != "close 118 connections of cart on the node 10.0.0.1:6379 only? y closes them, any other key does not" {
		t.Errorf("%q", got)
	}
	// No question without room for it.
	if low := press(resized(m, 80, 1), "k", "y"); low.closing != nil || low.asked != nil {
		t.Errorf("%+v", low.closing)
	}
	if low := press(resized(press(m, "k"), 80, 1), "y"); low.closing != nil {
		t.Errorf("%+v", low.closing)
	}
	// One at a time.
	busy, _ := run(m, "k").Update(pressOf("y"))
	if got := lastLine(press(busy.(model), "k")); got != "connections of cart are still being closed" {
		t.Errorf("%q", got)
	}
}

func TestTopReportsWhatItClosed(t *testing.T) {
	for want, c := range map[string]closedMsg{
		"closed 412 of 412":             {ClosedGroup: clients.ClosedGroup{Closed: 412}},
		"closed 410 of 412, 2 had left": {ClosedGroup: clients.ClosedGroup{Closed: 410, Left: 2}},
		"closed 400 of 412, 12 never closed (respool, replication, sentinels, MONITOR), 7 opened since": {ClosedGroup: clients.ClosedGroup{Closed: 400, Kept: 12, More: 7}},
		"closed 3 of 412 of cart: the server is not there":                                              {ClosedGroup: clients.ClosedGroup{Closed: 3}, err: errors.New("respool: the server is not there")},
	} {
		c.target = target{name: "cart", count: 412}
		if got := c.text(); got != want {
			t.Errorf("got %q: want %q", got, want)
		}
	}
}

// The keys work at a full server, and close the connections of the selected service only.
func TestTopClosesTheSelectionAtAFullServer(t *testing.T) {
	s := redistest.Start(t, redistest.Config{MaxClients: 40})
	crowd := func(name string, n int) *tooltest.Crowd {
		c := &tooltest.Crowd{T: t, Addr: s.PlainAddr(), Name: name}
		t.Cleanup(c.Close)
		if in := c.Add(n); in != n {
			t.Fatalf("%d of %d connections", in, n)
		}
		return c
	}
	crowd("cart:1:main", 5)
	crowd("carts:1:main", 6)
	crowd("sentinel-0123abcd-cmd", 1)
	f, ended := live(t, t.Context(), s.URL())
	f.wait(t, "carts")
	rest := &tooltest.Crowd{T: t, Addr: s.PlainAddr(), Name: "orders:1:main"}
	t.Cleanup(rest.Close)
	others := 0
	for rest.Add(1) == 1 {
		others++
	}
	_, _ = io.WriteString(f.typed, "/cart\r")
	_, _ = io.WriteString(f.typed, "\x1b[F") // the end of the list: cart has fewer connections than carts
	_, _ = io.WriteString(f.typed, "ky")
	list := testkit.Await(t, "the connections", func() string { return s.Do("CLIENT", "LIST") }, func(list string) bool { return !strings.Contains(list, "name=cart:") })
	for name, want := range map[string]int{"cart:": 0, "carts:": 6, "orders:": others, "sentinel-": 1, "respool:top:": 1} {
		if got := strings.Count(list, "name="+name); got != want {
			t.Errorf("%s has %d connections: want %d", name, got, want)
		}
	}
	_, _ = io.WriteString(f.typed, "q")
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// killerAt returns a killer of a running feed, and the address of its server.
func killerAt(t *testing.T, url string) (*killer, string) {
	t.Helper()
	looks, first := feedOf(t, t.Context(), url)
	k := newKiller(t.Context(), looks.sampler)
	t.Cleanup(k.stop)
	return k, first.Nodes[0].Addr
}

func TestTopNeverClosesProtectedConnections(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	for name, n := range map[string]int{"cart:1:main": 4, "respool:watch:00000001": 1, "sentinel-0123abcd-cmd": 1, "sentinel-0123abcd-pubsub": 1} {
		c := &tooltest.Crowd{T: t, Addr: s.PlainAddr(), Name: name}
		t.Cleanup(c.Close)
		c.Add(n)
	}
	k, addr := killerAt(t, s.URL())
	all := target{addr, clients.GroupKey{Field: "user", Key: "default"}, "user default", 7, true}
	// Seven were counted, and four are protected: its own too.
	got := k.kill(all).(closedMsg)
	if want := (clients.ClosedGroup{Closed: 3, Kept: 4, More: got.More}); got.err != nil || got.ClosedGroup != want || got.More < 1 {
		t.Errorf("%+v: want %+v", got, want)
	}
	all.count = 100
	if got = k.kill(all).(closedMsg); got.err != nil || got.Kept != 4 || got.Closed < 1 || got.Closed+got.Left+got.Kept != 100 {
		t.Errorf("%+v: want the fourth one too", got)
	}
	_, _ = s.TryDo("PING") // the connection of the test may be among the closed ones
	list := s.Do("CLIENT", "LIST")
	for name, want := range map[string]int{"cart:": 0, "respool:watch:": 1, "respool:top:": 1, "sentinel-": 2} {
		if got := strings.Count(list, "name="+name); got != want {
			t.Errorf("%s has %d connections: want %d", name, got, want)
		}
	}
	all.node = "127.0.0.1:1"
	if got := k.kill(all).(closedMsg); got.err == nil || got.text() != "closed 0 of 100 of user default: there is no connection to 127.0.0.1:1" {
		t.Errorf("%+v", got)
	}
	k.stop()
	if got := k.kill(all); got != nil {
		t.Errorf("%+v: want nothing after the end", got)
	}
}

func TestTopNamesTheRightThatItLacks(t *testing.T) {
	s := redistest.Start(t, redistest.Config{Users: []string{"top on >sesame ~* &* +@all -client|kill"}})
	c := &tooltest.Crowd{T: t, Addr: s.PlainAddr(), Name: "cart:1:main"}
	t.Cleanup(c.Close)
	c.Add(3)
	k, addr := killerAt(t, "redis://top:sesame@"+s.Addr())
	got := k.kill(target{addr, clients.GroupKey{Field: "service", Key: "cart"}, "cart", 3, true}).(closedMsg)
	if want := "closed 0 of 3 of cart: the server refuses CLIENT KILL (NOPERM): grant the right +client|kill"; got.text() != want {
		t.Errorf("got %q: want %q", got.text(), want)
	}
	if list := s.Do("CLIENT", "LIST"); strings.Count(list, "name=cart:") != 3 {
		t.Error(list)
	}
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	if got := newKiller(stopped, k.sampler).kill(got.target).(closedMsg); !errors.Is(got.err, context.Canceled) || got.Closed != 0 {
		t.Errorf("%+v", got)
	}
}
