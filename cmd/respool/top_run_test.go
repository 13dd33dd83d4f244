package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/alecthomas/kong"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/redistest"
	"github.com/seed-2b0d76a6/respool/monitor"
)

// fakeTerminal keeps what is written to it, and has keys typed.
type fakeTerminal struct {
	keys  *io.PipeReader
	typed *io.PipeWriter

	mu      sync.Mutex
	written bytes.Buffer
	changed chan struct{}
}

func newFakeTerminal(t *testing.T) *fakeTerminal {
	f := &fakeTerminal{changed: make(chan struct{}, 1)}
	f.keys, f.typed = io.Pipe()
	t.Cleanup(func() { f.typed.Close() })
	return f
}

func (f *fakeTerminal) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	select {
	case f.changed <- struct{}{}:
	default:
	}
	return f.written.Write(p)
}

func (f *fakeTerminal) text() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.written.String()
}

// wait returns when that was written.
func (f *fakeTerminal) wait(t *testing.T, what string) {
	t.Helper()
	limit := time.After(30 * time.Second)
	for !strings.Contains(f.text(), what) {
		select {
		case <-f.changed:
		case <-limit:
			t.Fatalf("no %q in %q", what, f.text())
		}
	}
}

func (f *fakeTerminal) options() []tea.ProgramOption {
	return []tea.ProgramOption{tea.WithInput(f.keys), tea.WithOutput(f), tea.WithWindowSize(120, 24),
		tea.WithEnvironment([]string{"TERM=xterm-256color", "TTY_FORCE=1"})}
}

// live shows a server's looks on a fake terminal; ended gives what came of it.
func live(t *testing.T, ctx context.Context, url string, more ...tea.ProgramOption) (f *fakeTerminal, ended chan error) {
	t.Helper()
	opt, err := respool.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	looks, err := beginLooks(monitor.SamplerConfig{Options: opt, Purpose: "top", Every: 20 * time.Millisecond, ListEvery: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(looks.end)
	first, err := looks.first(ctx)
	if err != nil {
		t.Fatal(err)
	}
	f, ended = newFakeTerminal(t), make(chan error, 1)
	go func() { ended <- looks.show(ctx, first, append(f.options(), more...)...) }()
	return f, ended
}

// checkRestored sees to it that a terminal is as it was.
func checkRestored(t *testing.T, f *fakeTerminal) {
	t.Helper()
	all := f.text()
	for on, off := range map[string]string{"\x1b[?1049h": "\x1b[?1049l", "\x1b[?25l": "\x1b[?25h", "\x1b[?2004h": "\x1b[?2004l"} {
		if strings.LastIndex(all, on) > strings.LastIndex(all, off) {
			t.Errorf("%q is not taken back by %q", on, off)
		}
	}
}

func TestTopRunsUntilAKeyEndsIt(t *testing.T) {
	s := redistest.Start(t, redistest.Config{MaxClients: 100})
	for _, key := range []string{"q", "\x03"} {
		f, ended := live(t, t.Context(), s.URL())
		f.wait(t, "of 100 connections")
		hold(t, s, "orders:pod-1:main", 5, 0)
		f.wait(t, "orders")
		if _, err := io.WriteString(f.typed, key); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
		checkRestored(t, f)
	}
}

func TestTopEndsWithItsContext(t *testing.T) {
	s := redistest.Start(t, redistest.Config{MaxClients: 100})
	ctx, cancel := context.WithCancel(t.Context())
	f, ended := live(t, ctx, s.URL())
	f.wait(t, "of 100 connections")
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	checkRestored(t, f)
}

func TestTopHonoursNoColor(t *testing.T) {
	s := redistest.Start(t, redistest.Config{MaxClients: 40})
	hold(t, s, "orders:pod-1:main", 30, 0)
	yellow := regexp.MustCompile(`\x1b\[[0-9;]*33[0-9;]*m`)
	for _, c := range []struct {
		none    string
		colored bool
	}{{"", true}, {"yes", false}, {"1", false}} {
		f, ended := live(t, t.Context(), s.URL(), topColors(c.none)...)
		f.wait(t, "of 40 connections")
		_, _ = io.WriteString(f.typed, "q")
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if got := yellow.MatchString(f.text()); got != c.colored {
			t.Errorf("NO_COLOR=%s: colored is %v: %q", c.none, got, f.text())
		}
	}
}

// top runs the command on a pipe, and gives what it printed.
func top(t *testing.T, ctx context.Context, args ...string) (string, error) {
	t.Helper()
	var c struct {
		Top topCmd `cmd:""`
	}
	parser, err := kong.New(&c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.Parse(append([]string{"top"}, args...)); err != nil {
		return "", err
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	old := os.Stdout
	os.Stdout = w
	defer func() { os.Stdout = old }()
	printed := make(chan string)
	go func() {
		b, _ := io.ReadAll(r)
		r.Close()
		printed <- string(b)
	}()
	err = c.Top.Run(ctx)
	w.Close()
	return <-printed, err
}

func TestTopPrintsLinesOnAPipe(t *testing.T) {
	s := redistest.Start(t, redistest.Config{MaxClients: 100})
	for name, n := range map[string]int{"orders:1": 6, "cart:1": 4, "mail:1": 3, "ops:1": 2} {
		hold(t, s, name, n, 0)
	}
	out, err := top(t, t.Context(), s.URL(), "--every", "100ms", "--list-every", "100ms", "--for", "1s")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if err != nil || len(lines) < 3 || len(lines) > 12 {
		t.Fatalf("%v: %s", err, out)
	}
	last := lines[len(lines)-1]
	for _, want := range []string{s.Addr() + " primary: 16 of 100 connections (16%), opened 0/s, rejected 0/s, commands ", "/s; orders 6, cart 4, mail 3"} {
		if !strings.Contains(last, want) {
			t.Errorf("no %q in %q", want, last)
		}
	}
	if strings.Contains(out, "\x1b") {
		t.Errorf("%q", out)
	}
	if at, err := time.Parse(time.RFC3339, strings.Fields(last)[0]); err != nil || time.Since(at) > time.Minute {
		t.Errorf("%v, %v", at, err)
	}
	if list := s.Do("CLIENT", "LIST"); strings.Contains(list, "respool:top:") {
		t.Errorf("its connection is still there:\n%s", list)
	}
}

func TestTopPrintsAnObjectALook(t *testing.T) {
	s := redistest.Start(t, redistest.Config{MaxClients: 100})
	hold(t, s, "orders:1", 6, 0)
	out, err := top(t, t.Context(), s.URL(), "--every", "100ms", "--for", "500ms", "--json", "--maxclients", "50", "--large")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for dec := json.NewDecoder(strings.NewReader(out)); ; n++ {
		var r topReport
		if err := dec.Decode(&r); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if r.Addr != s.Addr() || r.Connections != 7 || r.MaxClients != 50 || !r.Up || r.Verdict != "7 of 50 connections (14%), no forecast" ||
			len(r.Services) == 0 || r.Services[0].Name != "orders" || time.Since(r.At) > time.Minute {
			t.Errorf("%+v", r)
		}
	}
	if n < 2 || strings.Count(out, "\n") != n {
		t.Errorf("%d objects: %s", n, out)
	}
}

func TestTopTellsOfEveryLook(t *testing.T) {
	var out bytes.Buffer
	p := newTopPrinter(&out, false, 2*time.Second)
	st := oneService(t)
	again := *st
	again.At = noon.Add(100 * time.Millisecond)
	later := oneService(t)
	later.At = noon.Add(2 * time.Second)
	for _, s := range []*monitor.State{st, &again, later} {
		if err := p.print(s); err != nil {
			t.Fatal(err)
		}
	}
	want := `2026-03-01T12:00:00Z 10.0.0.1:6379 primary: 450 of 500 connections (90%), opened 12/s, rejected 0/s, commands 5412/s; orders 215, cart 118, a-service-with-a-long-name 33
2026-03-01T12:00:00Z 10.0.0.2:6379 replica: 20 of 500 connections (4%), opened -/s, rejected -/s, commands -/s; reports 20
2026-03-01T12:00:00Z 10.0.0.3:6379 replica: not reachable since 12 s: dial 10.0.0.3:6379: connection refused
`
	want += strings.NewReplacer("12:00:00Z", "12:00:02Z", "12 s", "14 s").Replace(want)
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}

func TestTopMistakes(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	s.Pause()
	defer s.Resume()
	for args, want := range map[string]string{
		"redis://127.0.0.1:1":                   "connection refused",
		"redis+sentinel://127.0.0.1:1/mymaster": "no primary of service \"mymaster\" is known",
		"redis://127.0.0.1:1?max_conections=3":  "did you mean max_connections?",
		"redis://x --every 1ms":                 "--every is 1ms: want 100ms to 1h",
		"redis://x --list-every 0s":             "--list-every is 0s",
		"redis://x --maxclients=-1":             "--maxclients is -1",
		"redis://x --for=-1s":                   "--for is -1s",
		s.URL() + " --for 200ms":                "no node answered in the time that --for gives",
	} {
		out, err := top(t, t.Context(), strings.Fields(args)...)
		if err == nil || !strings.Contains(err.Error(), want) || out != "" {
			t.Errorf("%s: %v, %q: want %q", args, err, out, want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := top(t, ctx, s.URL()); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestTopOfAServiceHasAllNodes(t *testing.T) {
	set := redistest.StartSentinels(t, redistest.SentinelConfig{Replicas: 1})
	f, ended := live(t, t.Context(), set.URL())
	f.wait(t, "replica") // of a line that changes only what differs is written
	_, _ = io.WriteString(f.typed, "q")
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
