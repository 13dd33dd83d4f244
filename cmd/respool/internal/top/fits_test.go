package top

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"
	"pgregory.net/rapid"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/clients"
	"github.com/seed-2b0d76a6/respool/monitor"
)

func TestTopFitsAnyScreen(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := screen(anyState(t), 80, 24)
		m.kill = func(t target) tea.Msg { return closedMsg{target: t} }
		keys := []string{"s", "r", "p", "/", "x", "é", "注", "?", "q", "esc", "enter", "tab", "shift+tab", "left", "right", "up", "down", "space", "backspace", "b", "b", "enter", "k", "k", "y", "pgdown", "pgup", "home", "end"}
		for range 3 {
			m = press(m, rapid.SliceOfN(rapid.SampledFrom(keys), 0, 12).Draw(t, "keys")...)
			m = resized(m, rapid.IntRange(0, 180).Draw(t, "width"), rapid.IntRange(0, 50).Draw(t, "height"))
			next, _ := m.Update(stateMsg{anyState(t)})
			m = next.(model)
			checkFits(t, m)
			if closing := m.closing; closing != nil && rapid.Bool().Draw(t, "closed") {
				outcome := clients.ClosedGroup{Closed: rapid.IntRange(0, 9).Draw(t, "closed"), Left: rapid.IntRange(0, 9).Draw(t, "left"), Kept: rapid.IntRange(0, 9).Draw(t, "kept")}
				next, _ = m.Update(closedMsg{*closing, outcome, rapid.SampledFrom([]error{nil, errors.New("x\x1b]0;mine\a\nagain")}).Draw(t, "why")})
				m = next.(model)
				checkFits(t, m)
			}
		}
	})
}

func checkFits(t *rapid.T, m model) {
	v := m.View()
	if err := harmless(v.Content); err != nil {
		t.Fatalf("%v: %q", err, v.Content)
	}
	lines := strings.Split(v.Content, "\n")
	if len(lines) != max(1, m.height) && m.width > 0 {
		t.Fatalf("%d lines of %d", len(lines), m.height)
	}
	for _, line := range lines {
		if w, wc := ansi.StringWidth(line), ansi.StringWidthWc(line); max(w, wc) > m.width {
			t.Fatalf("%q is %d or %d wide, of %d", line, w, wc, m.width)
		}
	}
	if c := v.Cursor; c != nil && (c.X < 0 || c.X >= max(1, m.width) || c.Y != m.height-1) {
		t.Fatalf("the cursor is at %+v", c)
	}
}

func anyState(t *rapid.T) *monitor.State {
	st := &monitor.State{At: noon, Service: rapid.String().Draw(t, "service")}
	if rapid.Bool().Draw(t, "wrong") {
		st.Err = errors.New(rapid.String().Draw(t, "error"))
	}
	for i := range rapid.IntRange(0, 4).Draw(t, "nodes") {
		st.Nodes = append(st.Nodes, anyNode(t, i))
	}
	return st
}

func anyNode(t *rapid.T, i int) monitor.NodeState {
	number := rapid.Int64Range(0, 1<<62)
	counts := rapid.MapOfN(rapid.String(), rapid.IntRange(1, 9), 0, 30)
	n := monitor.NodeState{Addr: rapid.String().Draw(t, "addr") + fmt.Sprint(i), Role: rapid.SampledFrom([]string{"", "primary", "replica"}).Draw(t, "role"),
		Up: rapid.Bool().Draw(t, "up"), Full: rapid.Bool().Draw(t, "full"), Since: noon.Add(-time.Duration(number.Draw(t, "since"))),
		Rates:    monitor.Rates{Known: rapid.Bool().Draw(t, "known"), Opened: rapid.Float64().Draw(t, "opened"), Rejected: rapid.Float64().Draw(t, "rejected")},
		Forecast: monitor.Forecast{Exists: rapid.Bool().Draw(t, "forecast"), In: time.Duration(number.Draw(t, "in")), Latest: time.Duration(number.Draw(t, "latest"))}}
	if !n.Up {
		n.Err = errors.New(rapid.String().Draw(t, "error"))
	}
	if rapid.Bool().Draw(t, "seen") {
		n.Last = &monitor.Snapshot{Connections: number.Draw(t, "connections"), MaxClients: number.Draw(t, "max"), Assumed: rapid.String().Draw(t, "assumed")}
	}
	if rapid.Bool().Draw(t, "listed") {
		n.List, n.Earlier = madeUp(counts.Draw(t, "list")), madeUp(counts.Draw(t, "before"))
		n.Earlier.At = noon.Add(-time.Duration(number.Draw(t, "apart")))
	} else if rapid.Bool().Draw(t, "refused") {
		n.Refused = map[string]string{"CLIENT LIST": rapid.String().Draw(t, "why"), "INFO": rapid.String().Draw(t, "why")}
	}
	for i := range rapid.IntRange(0, 300).Draw(t, "points") {
		n.Points = append(n.Points, monitor.Point{At: noon.Add(time.Duration(i) * time.Second), Connections: int64(i * i), Rates: n.Rates})
	}
	return n
}
