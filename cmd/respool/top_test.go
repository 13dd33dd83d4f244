package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/tooltest"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/top"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// printTop runs the command on a pipe, and returns its output.
func printTop(t *testing.T, ctx context.Context, args ...string) (string, error) {
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
		tooltest.Hold(t, s, name, n, 0)
	}
	out, err := printTop(t, t.Context(), s.URL(), "--every", "100ms", "--list-every", "100ms", "--for", "1s")
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
	tooltest.Hold(t, s, "orders:1", 6, 0)
	out, err := printTop(t, t.Context(), s.URL(), "--every", "100ms", "--for", "500ms", "--json", "--maxclients", "50", "--large")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for dec := json.NewDecoder(strings.NewReader(out)); ; n++ {
		var r top.Report
		if err := dec.Decode(&r); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if r.Addr != s.Addr() || *r.Connections != 7 || r.MaxClients != 50 || !r.Up || r.Verdict != "7 of 50 connections (14%), no forecast: too few samples yet" || r.NoForecast != "too few samples yet" ||
			len(r.Services) == 0 || r.Services[0].Name != "orders" || time.Since(r.At) > time.Minute {
			t.Errorf("%+v", r)
		}
	}
	if n < 2 || strings.Count(out, "\n") != n {
		t.Errorf("%d objects: %s", n, out)
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
		s.URL() + " --for 200ms":                "no node answered within --for",
	} {
		out, err := printTop(t, t.Context(), strings.Fields(args)...)
		if err == nil || !strings.Contains(err.Error(), want) || out != "" {
			t.Errorf("%s: %v, %q: want %q", args, err, out, want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := printTop(t, ctx, s.URL()); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
