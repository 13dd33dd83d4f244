package top

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/seed-2b0d76a6/respool/monitor"
)

var update = flag.Bool("update", false, "write the expectations of testdata anew")

// noon is the time of the states.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// holder is a service and its connections by state.
type holder struct {
	name                      string
	active, idle, blocked, in int // in: in pub/sub
	age                       int // seconds
}

func (h holder) list() string {
	var b strings.Builder
	add := func(n, idle int, flags string) {
		for i := range n {
			fmt.Fprintf(&b, "id=1 addr=10.0.0.%d:1 name=%s:pod:main age=%d idle=%d flags=%s cmd=%s user=%s lib-name=redis-py lib-ver=5.0.1 tot-mem=20512\n",
				1+i%3, h.name, h.age, idle, flags, []string{"get", "set"}[i%2], h.name+"-user")
		}
	}
	add(h.active, 0, "N")
	add(h.idle, 90, "N")
	add(h.blocked, 5, "b")
	add(h.in, 5, "P")
	return b.String()
}

// seenAt is a snapshot with these holders.
func seenAt(t testing.TB, at time.Time, connections int64, holders ...holder) *monitor.Snapshot {
	t.Helper()
	var list strings.Builder
	for _, h := range holders {
		list.WriteString(h.list())
	}
	snap, err := monitor.NewSnapshot(monitor.Source{At: at, Detail: true, List: strings.NewReader(list.String()),
		Info: fmt.Sprintf("redis_version:7.2.4\r\nconnected_clients:%d\r\nmaxclients:500\r\n", connections+1)})
	if err != nil {
		t.Fatal(err)
	}
	return snap
}

// busyNode is nearly full and has a history of 42 minutes.
func busyNode(t testing.TB) monitor.NodeState {
	n := monitor.NodeState{Addr: "10.0.0.1:6379", Role: "primary", Up: true, Since: noon.Add(-time.Hour),
		Rates: monitor.Rates{Known: true, Opened: 12.34, Commands: 5412},
		Forecast: monitor.Forecast{Exists: true, Growth: 4, In: 12 * time.Minute, Earliest: 9 * time.Minute, Latest: 17 * time.Minute,
			Seen: 40 * time.Minute}}
	for i := range 252 {
		n.Points = append(n.Points, monitor.Point{At: noon.Add(time.Duration(i-251) * 10 * time.Second), Connections: int64(200 + i), MaxClients: 500,
			Rates: monitor.Rates{Known: i > 0, Opened: float64(i % 60), Rejected: float64(max(0, i-249)), Commands: 5000 + float64(i%90)*10}})
	}
	n.Earlier = seenAt(t, noon.Add(-30*time.Second), 440, holder{"orders", 100, 70, 10, 10, 7200}, holder{"cart", 80, 40, 0, 0, 600}, holder{"gone", 4, 0, 0, 0, 60})
	n.List = seenAt(t, noon, 450, holder{"orders", 120, 70, 15, 10, 7230}, holder{"cart", 80, 38, 0, 0, 630},
		holder{"billing", 20, 10, 0, 0, 90_000}, holder{"a-service-with-a-long-name", 3, 30, 0, 0, 400_000},
		holder{"mail", 0, 0, 25, 0, 50}, holder{"cron", 7, 0, 0, 0, 3}, holder{"search", 6, 0, 0, 0, 3000},
		holder{"stock", 5, 0, 0, 0, 3000}, holder{"users", 4, 0, 0, 0, 3000}, holder{"web", 3, 0, 0, 0, 3000}, holder{"audit", 2, 0, 0, 0, 3000},
		holder{"ops", 1, 1, 0, 0, 3000})
	n.Last = n.List
	return n
}

// oneServer is the state of one server.
func oneServer(t testing.TB) *monitor.State {
	return &monitor.State{At: noon, Nodes: []monitor.NodeState{busyNode(t)}}
}

// oneService is the state of a service with three nodes, one of which is down.
func oneService(t testing.TB) *monitor.State {
	calm := monitor.NodeState{Addr: "10.0.0.2:6379", Role: "replica", Up: true, Since: noon.Add(-time.Hour)}
	calm.List = seenAt(t, noon, 20, holder{"reports", 20, 0, 0, 0, 4000})
	calm.Last = calm.List
	down := monitor.NodeState{Addr: "10.0.0.3:6379", Role: "replica", Since: noon.Add(-12 * time.Second),
		Err: errors.New("respool: dial 10.0.0.3:6379: connection refused")}
	return &monitor.State{At: noon, Service: "mymaster", Nodes: []monitor.NodeState{busyNode(t), calm, down}}
}

// screen is a model of this size, after these keys.
func screen(st *monitor.State, width, height int, keys ...string) model {
	return press(resized(newModel(st), width, height), keys...)
}

func resized(m model, width, height int) model {
	next, _ := m.Update(tea.WindowSizeMsg{Width: width, Height: height})
	return next.(model)
}

// keyCodes are the keys without a character.
var keyCodes = map[string]tea.Key{
	"tab": {Code: tea.KeyTab}, "shift+tab": {Code: tea.KeyTab, Mod: tea.ModShift}, "esc": {Code: tea.KeyEscape}, "enter": {Code: tea.KeyEnter},
	"left": {Code: tea.KeyLeft}, "right": {Code: tea.KeyRight}, "up": {Code: tea.KeyUp}, "down": {Code: tea.KeyDown},
	"pgup": {Code: tea.KeyPgUp}, "pgdown": {Code: tea.KeyPgDown}, "home": {Code: tea.KeyHome}, "end": {Code: tea.KeyEnd},
	"space": {Code: tea.KeySpace, Text: " "}, "ctrl+c": {Code: 'c', Mod: tea.ModCtrl}, "backspace": {Code: tea.KeyBackspace},
}

func press(m model, keys ...string) model {
	for _, k := range keys {
		next, _ := m.Update(pressOf(k))
		m = next.(model)
	}
	return m
}

func pressOf(name string) tea.KeyPressMsg {
	if k, ok := keyCodes[name]; ok {
		return tea.KeyPressMsg(k)
	}
	return tea.KeyPressMsg{Code: []rune(name)[0], Text: name}
}

// shows is the text of a screen, without colors.
func shows(m model) string {
	lines := strings.Split(ansi.Strip(m.View().Content), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.Join(lines, "\n")
}

func TestTopScreens(t *testing.T) {
	notLooked := &monitor.State{At: noon, Nodes: []monitor.NodeState{{Addr: "10.0.0.1:6379"}}}
	full := &monitor.State{At: noon, Nodes: []monitor.NodeState{{Addr: "10.0.0.1:6379", Full: true, Since: noon, Err: errors.New("max number of clients reached")}}}
	for name, st := range map[string]*monitor.State{
		"server": oneServer(t), "service": oneService(t), "waiting": notLooked, "full": full,
		"nowhere": {At: noon, Service: "mymaster", Err: errors.New("no sentinel can tell:\ns1 is unreachable")},
	} {
		for _, size := range []struct{ width, height int }{{120, 40}, {80, 24}, {40, 10}} {
			t.Run(fmt.Sprintf("%s at %dx%d", name, size.width, size.height), func(t *testing.T) {
				golden(t, fmt.Sprintf("%s-%dx%d", name, size.width, size.height), shows(screen(st, size.width, size.height)))
			})
		}
	}
	golden(t, "down-80x24", shows(screen(oneService(t), 80, 24, "shift+tab")))
	golden(t, "details-80x24", shows(screen(oneServer(t), 80, 24, "down", "enter")))
	golden(t, "details-40x10", shows(screen(oneServer(t), 40, 10, "down", "enter")))
	golden(t, "addresses-80x24", shows(screen(oneServer(t), 80, 24, "b")))
	golden(t, "address-80x24", shows(screen(oneServer(t), 80, 24, "b", "enter")))
	asked := screen(oneServer(t), 80, 24, "down", "k")
	golden(t, "kill-80x24", shows(asked))
	golden(t, "kill-40x10", shows(resized(asked, 40, 10)))
	asked.kill = func(t target) tea.Msg { return closedMsg{target: t} }
	golden(t, "closing-80x24", shows(press(asked, "y")))
	golden(t, "help-80x24", shows(screen(oneService(t), 80, 24, "?")))
}

// golden compares a screen to a file.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", "top", name+".txt")
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil || got+"\n" != string(want) {
		t.Errorf("%s: %v; got\n%s\nwant\n%s", file, err, got, want)
	}
}
