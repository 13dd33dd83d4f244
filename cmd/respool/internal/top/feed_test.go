package top

import (
	"bytes"
	"context"
	"io"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/tooltest"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
	"github.com/seed-2b0d76a6/respool/monitor"
)

// fakeTerminal records its output, and types keys.
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

// wait waits until the output contains a text.
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

// feedOf starts a feed of a server, and returns it with its first state.
func feedOf(t *testing.T, ctx context.Context, url string) (*feed, *monitor.State) {
	t.Helper()
	opt, err := respool.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	looks, err := startFeed(monitor.SamplerConfig{Options: opt, Purpose: "top", Every: 20 * time.Millisecond, ListEvery: 20 * time.Millisecond, Split: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(looks.stop)
	first, err := looks.firstState(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return looks, first
}

// live shows a server on a fake terminal. ended receives the error of the screen.
func live(t *testing.T, ctx context.Context, url string, more ...tea.ProgramOption) (f *fakeTerminal, ended chan error) {
	t.Helper()
	looks, first := feedOf(t, ctx, url)
	f, ended = newFakeTerminal(t), make(chan error, 1)
	go func() { ended <- looks.show(ctx, first, append(f.options(), more...)...) }()
	return f, ended
}

// checkRestored checks that the terminal is as it was before.
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
		tooltest.Hold(t, s, "orders:pod-1:main", 5, 0)
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
	tooltest.Hold(t, s, "orders:pod-1:main", 30, 0)
	yellow := regexp.MustCompile(`\x1b\[[0-9;]*33[0-9;]*m`)
	for _, c := range []struct {
		none    string
		colored bool
	}{{"", true}, {"yes", false}, {"1", false}} {
		f, ended := live(t, t.Context(), s.URL(), colorOptions(c.none)...)
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

func TestTopOfAServiceHasAllNodes(t *testing.T) {
	set := redistest.StartSentinels(t, redistest.SentinelConfig{Replicas: 1})
	f, ended := live(t, t.Context(), set.URL())
	f.wait(t, "replica") // of a line that changes only what differs is written
	_, _ = io.WriteString(f.typed, "q")
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
