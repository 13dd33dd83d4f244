package top

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/output"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/summary"
	"github.com/seed-2b0d76a6/respool/monitor"
)

// names lists the services on a screen, from top to bottom.
func names(m model) []string {
	var list []string
	for _, r := range m.rows() {
		list = append(list, r.Name)
	}
	return list
}

// firstNames joins the first two.
func firstNames(m model) string { return strings.Join(names(m)[:2], " ") }

func TestTopSortsByTheColumnThatKeysChoose(t *testing.T) {
	for keys, want := range map[string]string{
		"":                              "orders cart",
		"r":                             "gone audit",
		"s":                             "a-service-with-a-long-name billing", // change
		"s s":                           "orders cart",                        // memory
		"s s s":                         "orders cart",                        // active
		"s s s s":                       "orders cart",                        // idle
		"right right right right right": "mail orders",                        // blocked
		"left":                          "a-service-with-a-long-name audit",   // service
		"left r":                        "web users",
		"left left":                     "a-service-with-a-long-name billing", // oldest
		"left left left":                "orders cart",                        // share
		"s r":                           "gone cart",
		"s s s s s s s s s s":           "orders cart",                       // all around
		"left left left left":           "orders a-service-with-a-long-name", // in pub/sub
	} {
		if got := firstNames(screen(oneServer(t), 80, 24, strings.Fields(keys)...)); got != want {
			t.Errorf("%s: got %s: want %s", keys, got, want)
		}
	}
	if got := shows(screen(oneServer(t), 80, 24, "s", "r")); !strings.Contains(got, "13 services by +/min, reversed, read at 12:00:00, history of 41 min") {
		t.Error(got)
	}
}

func TestTopFiltersByAPartOfAName(t *testing.T) {
	m := screen(oneServer(t), 80, 24, "/", "R", "s")
	if got := names(m); !slices.Equal(got, []string{"orders", "users"}) {
		t.Errorf("%v", got)
	}
	if v := m.View(); !strings.HasSuffix(strings.TrimRight(shows(m), "\n"), "/Rs") || v.Cursor == nil || v.Cursor.X != 3 || v.Cursor.Y != 23 {
		t.Errorf("%+v:\n%s", v.Cursor, shows(m))
	}
	m = press(m, "backspace", "enter", "s")
	if got := names(m); len(got) != 6 || m.column != columnConnections+1 || m.View().Cursor != nil {
		t.Errorf("%v, sorted by %d", got, m.column)
	}
	if got := shows(m); !strings.Contains(got, `6 of 13 services match "R" by +/min`) {
		t.Error(got)
	}
	if got := names(press(m, "esc")); len(got) != 13 {
		t.Errorf("%v", got)
	}
	if m = press(m, "/", "q", "x", "esc"); len(names(m)) != 13 || m.input.Focused() {
		t.Errorf("%v", names(m))
	}
	if got := shows(screen(oneServer(t), 80, 24, "/", "x", "x")); !strings.Contains(got, `0 of 13 services match "xx"`) {
		t.Error(got)
	}
}

func TestTopStandsStillAndGoesOn(t *testing.T) {
	later := oneServer(t)
	later.At = noon.Add(time.Minute)
	later.Nodes[0].Last = seenAt(t, later.At, 77)
	for _, key := range []string{"p", "space"} {
		m := screen(oneServer(t), 100, 24, key)
		next, _ := m.Update(stateMsg{later})
		m = next.(model)
		if got := shows(m); !strings.Contains(got, "450 of 500") || !strings.Contains(got, "paused at 12:00:00") {
			t.Error(got)
		}
		if got := shows(press(m, key)); !strings.Contains(got, "77 of 500 connections (15%)") || strings.Contains(got, "paused") {
			t.Error(got)
		}
	}
}

func TestTopMovesInTheTable(t *testing.T) {
	chosen := func(m model, name, more string) {
		t.Helper()
		if at, _, _ := strings.Cut(reversed(m), " "); at != name || !strings.Contains(shows(m), more) {
			t.Errorf("%q is selected: want %s, and %q in\n%s", at, name, more, shows(m))
		}
	}
	m := screen(oneServer(t), 40, 10)
	chosen(m, "orders", "and 11 more")
	m = press(m, "down", "down", "down")
	chosen(m, "billing", "and 9 more, 2 above")
	m = press(m, slices.Repeat([]string{"down"}, 100)...)
	chosen(m, "gone", "and 0 more, 11 above")
	m = press(m, slices.Repeat([]string{"up"}, 12)...)
	chosen(m, "orders", "and 11 more")
	chosen(press(m, "pgdown"), "cron", "above")
	chosen(press(m, "end"), "gone", "and 0 more")
	chosen(press(m, "end", "home"), "orders", "and 11 more")
	// The selection follows its row when the order changes.
	m = press(m, "down", "r")
	chosen(m, "cart", "above")
}

// reversed is the selected row of the table.
func reversed(m model) string {
	_, row, _ := strings.Cut(m.View().Content, "\x1b[7m")
	row, _, _ = strings.Cut(row, "\x1b[")
	return row
}

func TestTopFillsTheScreen(t *testing.T) {
	counts := map[string]int{}
	for i := range 200 {
		counts[fmt.Sprintf("service-%03d", i)] = 1 + i%3
	}
	for _, height := range []int{12, 24, 50, 150} {
		st := oneServer(t)
		st.Nodes[0].List = madeUp(counts)
		m := screen(st, 80, height)
		rows := strings.Count(shows(m), "\nservice-")
		used := len(m.head()) + len(m.sparks(m.shownNode())) + len(m.foot()) + 3 // the note, the titles, and the number of the others
		if rows != height-used {
			t.Errorf("%d rows of %d lines: want %d\n%s", rows, height, height-used, shows(m))
		}
	}
}

func TestTopGroupsByOtherFields(t *testing.T) {
	m := screen(oneServer(t), 120, 24)
	for _, want := range []string{
		"3 addresses by connections|10.0.0.1 10.0.0.2", "13 users by connections|orders-user cart-user", "1 library by connections|redis-py 5.0.1", "2 commands by connections|get set",
		"13 services by connections|orders cart",
	} {
		m = press(m, "b")
		note, first, _ := strings.Cut(want, "|")
		note = strings.Replace(note, "1 library", "1 libraries", 1)
		if got := strings.Join(names(m)[:min(2, len(names(m)))], " "); got != first || !strings.Contains(shows(m), note) {
			t.Errorf("got %s: want %s in\n%s", got, want, shows(m))
		}
	}
	if got := shows(press(m, "b", "s")); !strings.Contains(got, "3 addresses by +/min") || strings.Contains(got, "  -  ") {
		t.Error(got)
	}
	// A source without these fields.
	st := oneServer(t)
	st.Nodes[0].List = madeUp(map[string]int{"orders": 3})
	if got := shows(screen(st, 80, 24, "b")); !strings.Contains(got, "no addresses: not read; b groups by another field") {
		t.Error(got)
	}
}

func TestTopShowsDetailsOfTheSelection(t *testing.T) {
	m := screen(oneServer(t), 80, 24, "/", "c", "a", "r", "t", "enter", "enter")
	for _, want := range []string{"service cart\n", "118 connections (26%)", "-4.0 a minute", "memory 2363 KiB", "addresses:  10.0.0.1 40  10.0.0.2 40  10.0.0.3 38", "users:  cart-user 118", "libraries:  redis-py 5.0.1 118", "commands:  get 59  set 59"} {
		if got := shows(m); !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if got := shows(press(m, "esc")); !strings.Contains(got, `1 of 13 services match "cart"`) {
		t.Error(got)
	}
	if got := shows(press(m, "esc", "esc")); !strings.Contains(got, "13 services by") {
		t.Error(got)
	}
	st := oneServer(t)
	st.Nodes[0].List = madeUp(map[string]int{"orders": 3})
	if got := shows(screen(st, 80, 24, "enter")); !strings.Contains(got, "memory unknown") || !strings.Contains(got, "change unknown") && !strings.Contains(got, "a minute") {
		t.Error(got)
	}
}

func TestTopSwitchesNodesAndFollowsThePrimary(t *testing.T) {
	st := oneService(t)
	wide := screen(st, 160, 24)
	if got := shows(wide); !strings.Contains(got, "mymaster: [10.0.0.1:6379 primary 90%]  10.0.0.2:6379 replica 4%  10.0.0.3:6379 replica down") {
		t.Error(got)
	}
	second := press(wide, "tab")
	if got := shows(second); !strings.HasPrefix(got, "10.0.0.2:6379 replica, Redis 7.2.4: 20 of 500 connections (4%), no forecast: too few samples yet") || !strings.Contains(got, "reports") {
		t.Error(got)
	}
	if m := press(second, "tab", "tab"); m.shownNode().Addr != "10.0.0.1:6379" {
		t.Errorf("after all of them %s", m.shownNode().Addr)
	}
	swapped := oneService(t)
	swapped.Nodes[0], swapped.Nodes[1] = swapped.Nodes[1], swapped.Nodes[0]
	for _, c := range []struct {
		m    model
		want string
	}{
		{wide, "10.0.0.2:6379"},
		{second, "10.0.0.2:6379"},
		{press(wide, "tab", "shift+tab"), "10.0.0.2:6379"},
		{press(wide, "shift+tab"), "10.0.0.3:6379"},
	} {
		next, _ := c.m.Update(stateMsg{swapped})
		if m := next.(model); m.shownNode().Addr != c.want {
			t.Errorf("after a failover %s is shown: want %s", m.shownNode().Addr, c.want)
		}
	}
	next, _ := second.Update(stateMsg{oneServer(t)})
	if m := next.(model); m.shownNode().Addr != "10.0.0.1:6379" {
		t.Errorf("%s is shown and not there", m.shownNode().Addr)
	}
}

func TestTopVerdicts(t *testing.T) {
	change := func(fn func(*monitor.NodeState)) monitor.NodeState {
		n := busyNode(t)
		n.Forecast = monitor.Forecast{}
		fn(&n)
		return n
	}
	limitless := *seenAt(t, noon, 9)
	limitless.MaxClients = 0
	assumed := *seenAt(t, noon, 250)
	assumed.Assumed = "Amazon ElastiCache"
	blind := *seenAt(t, noon, 9)
	blind.Refused, blind.User = map[string]string{"INFO": "the server refuses it (NOPERM)"}, "watch"
	for want, n := range map[string]monitor.NodeState{
		"450 of 500 connections (90%), no forecast: too few samples yet":                                    change(func(*monitor.NodeState) {}),
		"9 connections, limit unknown, no forecast: too few samples yet":                                    change(func(n *monitor.NodeState) { n.Last = &limitless }),
		"250 of 500 connections (50%), limit assumed: Amazon ElastiCache, no forecast: too few samples yet": change(func(n *monitor.NodeState) { n.Last = &assumed }),
		"450 of 500 connections (90%), rejects 3.2 a second":                                                change(func(n *monitor.NodeState) { n.Rates.Rejected = 3.2 }),
		"cannot judge: INFO is refused: grant +info: ACL SETUSER watch +info":                               change(func(n *monitor.NodeState) { n.Last = &blind }),
		"full: refuses new connections":                                                                     change(func(n *monitor.NodeState) { n.Up, n.Full, n.Err = false, true, errors.New("x") }),
		"not reachable since 60 min: dial: no route; and again":                                             change(func(n *monitor.NodeState) { n.Up, n.Err = false, errors.New("respool: dial: no route\nand again") }),
		"450 of 500 connections (90%), full in 30 s (20 to 61)":                                             change(inTime(30*time.Second, 20*time.Second, 61*time.Second)),
		"450 of 500 connections (90%), full in about 3 min": change(func(n *monitor.NodeState) {
			n.Forecast = monitor.Forecast{Exists: true, Rough: true, In: 3 * time.Minute, Earliest: 2 * time.Minute, Latest: 5 * time.Minute}
		}),
		"450 of 500 connections (90%), full in 3 h (2 to 1000)": change(inTime(3*time.Hour, 110*time.Minute, 1000*time.Hour)),
	} {
		if got := summary.Verdict(&n, noon, false); got != want {
			t.Errorf("got %q: want %q", got, want)
		}
	}
}

func inTime(in, earliest, latest time.Duration) func(*monitor.NodeState) {
	return func(n *monitor.NodeState) {
		n.Forecast = monitor.Forecast{Exists: true, In: in, Earliest: earliest, Latest: latest}
	}
}

func TestTopColorsSeverityAlone(t *testing.T) {
	for connections, want := range map[int64]lipgloss.Style{100: style(summary.Normal), 350: style(summary.Warning), 424: style(summary.Warning), 425: style(summary.Critical), 500: style(summary.Critical)} {
		st := &monitor.State{At: noon, Nodes: []monitor.NodeState{{Addr: "a:1", Up: true, Last: seenAt(t, noon, connections)}}}
		head := screen(st, 80, 24).View().Content
		if line, _, _ := strings.Cut(head, "\n"); line != want.Bold(true).Render(ansi.Strip(line)) {
			t.Errorf("%d of 500: %q", connections, line)
		}
	}
}

func TestTopMakesForeignTextHarmless(t *testing.T) {
	for text, want := range map[string]string{
		"orders":                           "orders",
		"\x1b]0;mine\a\x1b[2J":             "?]0;mine??[2J",
		"a\tb\r\nc\x7f\u009b1m":            "a?b??c??1m",
		"\xff\xfe":                         "?",
		"abc\u202edef\u200b\ufeff":         "abc?def??",
		"\u0903〆 \u0d4e":                   "?〆 ?",
		"Zürich 注文":                        "Zürich 注文",
		"👨‍👩‍👧x":                           "????x",
		"e\u0301\u0301x \u0301":            "e\u0301\u0301x \u0301",
		"e" + strings.Repeat("\u0301", 50): "?",
	} {
		if got := output.Cell(text); got != want && !(strings.HasPrefix(text, "👨") && strings.HasSuffix(got, "x")) {
			t.Errorf("%q: got %q: want %q", text, got, want)
		}
	}
	st := oneServer(t)
	st.Nodes[0].List = madeUp(map[string]int{"\x1b]0;mine\a\x1b[2Jorders": 3, "注文注文注文注文注文": 2, "x": 1})
	got := screen(st, 40, 12).View().Content
	if err := harmless(got); err != nil {
		t.Errorf("%v: %q", err, got)
	}
	for line := range strings.SplitSeq(ansi.Strip(got), "\n") {
		if strings.HasSuffix(line, "%") && ansi.StringWidth(line) > 40 {
			t.Errorf("%q has a width of %d", line, ansi.StringWidth(line))
		}
	}
}

func TestTopKeepsForeignTextHarmlessElsewhere(t *testing.T) {
	const evil = "x\x1b]0;mine\a\u009b2J\x7f\u202e\U000e0001"
	st := &monitor.State{At: noon, Nodes: []monitor.NodeState{{Addr: "a:1", Err: errors.New("respool: " + evil + "\nand again")}}}
	for _, st := range []*monitor.State{st, {At: noon, Service: "s", Err: st.Nodes[0].Err}} {
		if _, err := anyUp(st); err == nil || harmless(err.Error()) != nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q", err)
		}
	}
	for _, asJSON := range []bool{false, true} {
		var out strings.Builder
		if err := newLinePrinter(&out, asJSON, time.Second).print(st); err != nil || harmless(out.String()) != nil || strings.Count(out.String(), "\n") != 1 {
			t.Errorf("%v: %q", err, out.String())
		}
		var r Report
		if err := json.Unmarshal([]byte(out.String()), &r); asJSON && (err != nil || r.Error != "respool: "+evil+"\nand again") {
			t.Errorf("%v: %q", err, r.Error)
		}
	}
}

func TestTopListsAllKeysOnNarrowScreens(t *testing.T) {
	for _, keys := range [][]string{{"?"}, {"?", "p"}, {"p", "?"}} {
		got := shows(screen(oneService(t), 40, 10, keys...))
		for _, want := range append(slices.Clone(keyHelp), "450 of 500 (90%)") {
			if !strings.Contains(got, want) {
				t.Errorf("%v: no %q in\n%s", keys, want, got)
			}
		}
	}
	if got := shows(screen(oneService(t), 40, 10, "?", "?")); strings.Contains(got, "reverse") {
		t.Error(got)
	}
}

// madeUp is a snapshot with services of any name.
func madeUp(counts map[string]int) *monitor.Snapshot {
	g, _ := monitor.NewGroups("service")
	for name, n := range counts {
		for i := range n {
			g.Add(&monitor.Client{Name: name, Age: time.Duration(i) * time.Hour})
		}
	}
	g.Sorted()
	return &monitor.Snapshot{At: noon, Clients: g}
}

var colors = regexp.MustCompile(`\x1b\[[0-9;]*m`)

// harmless returns an error if a screen contains anything except text and colors.
func harmless(content string) error {
	for _, r := range colors.ReplaceAllString(content, "") {
		if r != '\n' && !unicode.IsPrint(r) {
			return fmt.Errorf("%q", r)
		}
	}
	return nil
}
