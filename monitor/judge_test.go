package monitor

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"pgregory.net/rapid"
)

// scene is a server as a judge sees it, of which a test changes what it is about.
type scene struct {
	at      time.Duration
	down    error
	full    bool
	role    string
	taken   int64 // of 1000
	rates   Rates
	blocked int
	list    string
	before  string
	fc      Forecast
	points  []Point
	service string
	err     error
	pools   map[string]PoolView
	planned map[string]int64
}

var epoch = time.Unix(1_700_000_000, 0)

func (s scene) view(t rapid.TB) *View {
	t.Helper()
	snap := func(at time.Duration, list string) *Snapshot {
		snap, err := NewSnapshot(Source{At: epoch.Add(at), List: strings.NewReader(list), Info: fmt.Sprintf(
			"connected_clients:%d\r\nmaxclients:1000\r\nblocked_clients:%d\r\nrejected_connections:7\r\n", s.taken+1, s.blocked)})
		if err != nil {
			t.Fatal(err)
		}
		return snap
	}
	n := NodeState{Addr: "n:1", Role: "primary", Up: s.down == nil && !s.full, Full: s.full, Err: s.down, Since: epoch.Add(s.at),
		Last: snap(s.at, s.list), Rates: s.rates, Forecast: s.fc, Points: s.points}
	if s.role != "" {
		n.Role = s.role
	}
	if s.list != "" {
		n.List = n.Last
	}
	if s.before != "" {
		n.Before = snap(s.at-time.Minute, s.before)
	}
	return &View{State: &State{At: epoch.Add(s.at), Service: s.service, Err: s.err, Nodes: []NodeState{n}}, Pools: s.pools, Ceilings: s.planned, Reserve: 50}
}

// told looks at scenes one after the other, and gives who was told of what, and when.
func told(t testing.TB, j *Judge, scenes ...scene) []string {
	t.Helper()
	var list []string
	for _, s := range scenes {
		for _, a := range j.Look(s.view(t)) {
			list = append(list, strings.TrimSpace(fmt.Sprintf("%v %s %v %s", s.at, a.State, a.Severity, a.Rule+" "+a.Subject)))
			if a.What == "" || a.Evidence == "" || a.Remedy == "" || a.Began.IsZero() || a.Fired.IsZero() || (a.State == Resolved) == a.Resolved.IsZero() {
				t.Errorf("%+v", a)
			}
		}
	}
	return list
}

// lasting repeats a scene every ten seconds.
func lasting(s scene, from, to time.Duration) (list []scene) {
	for ; from <= to; from += 10 * time.Second {
		s.at = from
		list = append(list, s)
	}
	return list
}

func judge(t testing.TB) *Judge {
	t.Helper()
	j, err := NewJudge(nil)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func TestEachRuleFiresAndIsResolved(t *testing.T) {
	calm := scene{taken: 100, list: lines("orders:1", 20, time.Hour, 0)}
	for name, c := range map[string]struct {
		bad   scene
		after time.Duration // it lasts so long before it fires
		keep  time.Duration // and is gone so long before it is resolved
		want  string        // severity, rule and subject
		words string
	}{
		"down":               {scene{down: errors.New("dial: refused")}, 20 * time.Second, 20 * time.Second, "page down", "n:1 does not answer|refused"},
		"no primary":         {scene{service: "mymaster", err: errors.New("s1 is not there")}, 20 * time.Second, 20 * time.Second, "page no-primary", "mymaster|s1 is not there"},
		"full":               {scene{full: true, down: errors.New("ERR max number of clients reached")}, 0, 30 * time.Second, "page full", "refuses new connections"},
		"rejected":           {scene{rates: Rates{Known: true, Rejected: 0.2}}, 0, time.Minute, "page rejected", "0.2 connections a second|rejected_connections is 7"},
		"critical":           {scene{taken: 860}, 2 * time.Minute, time.Minute, "page occupancy-critical", "86% of maxclients|860 connections of 1000"},
		"high":               {scene{taken: 710, before: lines("orders:1", 5, time.Hour, 0), list: lines("orders:1", 20, time.Hour, 0)}, 10 * time.Minute, 2 * time.Minute, "ticket occupancy-high", "71% of maxclients|held by orders 20 (+15)"},
		"exhaustion":         {scene{fc: Forecast{Exists: true, Growth: 5, In: 3 * time.Hour, Earliest: 2 * time.Hour, Latest: 5 * time.Hour, Seen: 12 * time.Minute}, before: lines("a:1", 3, 0, 0), list: lines("a:1", 9, 0, 0)}, time.Minute, 2 * time.Minute, "ticket exhaustion", "full in 3h0m|5.0 more a minute|between 2h0m and 5h0m|; a grows most"},
		"storm":              {scene{rates: Rates{Known: true, Opened: 150, Commands: 100_000}}, 5 * time.Minute, time.Minute, "warn new-connections", "150 connections a second|666.7 for each"},
		"no reuse":           {scene{rates: Rates{Known: true, Opened: 5, Commands: 50}}, 5 * time.Minute, time.Minute, "warn no-reuse", "5.0 connections a second|10.0 for each"},
		"blocked":            {scene{blocked: 60, points: blockedPoints(10)}, 2 * time.Minute, 2 * time.Minute, "warn blocked", "60 clients blocked, 50 more than usual"},
		"consumers are gone": {scene{blocked: 0, points: blockedPoints(100)}, 2 * time.Minute, 2 * time.Minute, "warn blocked", "100 fewer"},
		"leak":               {scene{list: lines("cart:1", 30, time.Hour, 20*time.Minute)}, 2 * time.Minute, 2 * time.Minute, "warn leak cart", "cart holds 30 connections"},
		"abandoned":          {scene{list: oneByOne("cart:1", 12)}, time.Minute, time.Minute, "warn abandoned cart", "cart opens 12 connections a minute|12 of its 12"},
		"ceiling":            {scene{list: lines("cart:1", 30, time.Hour, 0), planned: map[string]int64{"cart": 20, "orders": 5}}, time.Minute, time.Minute, "warn ceiling cart", "30 connections, 10 more than planned"},
		"budget":             {scene{planned: map[string]int64{"cart": 900, "orders": 60}}, 0, time.Minute, "ticket budget", "960 connections, 10 more than the server allows|maxclients is 1000, with 50 in reserve"},
		"pool timeouts":      {scene{pools: poolStats(respool.Stats{FailedWaits: 3}, respool.Stats{FailedWaits: 8})}, 0, time.Minute, "page pool-timeouts main", "5 callers waited for a connection and got none"},
		"pool unreachable": {scene{pools: poolStats(respool.Stats{FailedWaits: 3}, respool.Stats{FailedWaits: 8, DialFailures: 2, LastDialError: errors.New("respool: dial r:1: refused")})}, 0, time.Minute,
			"page pool-timeouts main", "5 callers got no connection: none can be opened|last dial error: dial r:1: refused"},
		"pool refused": {scene{pools: poolStats(respool.Stats{FailedWaits: 3}, respool.Stats{FailedWaits: 4, Refused: 9, LastDialError: errors.New("respool: handshake with r:1: WRONGPASS no")})}, 0, time.Minute,
			"page pool-timeouts main", "9 callers got no connection: the server refuses their user|last dial error: handshake with r:1: WRONGPASS no"},
		"pool waiting": {scene{pools: poolStats(respool.Stats{}, respool.Stats{Waiting: 4})}, time.Minute, 30 * time.Second, "warn pool-waiting main", "4 callers waiting"},
		"pool dedicated": {scene{pools: poolStats(respool.Stats{}, respool.Stats{Blocking: respool.BlockingStats{Refusal: fmt.Errorf("track keys: CLIENT TRACKING: %w", &respool.ServerError{Code: "NOPERM", Message: "no"})}})}, time.Minute, time.Minute,
			"warn pool-dedicated main", "each blocking command holds a connection|CLIENT TRACKING: NOPERM no"},
		"pool lost": {scene{pools: poolStats(lost(2), lost(5))}, 0, time.Minute, "ticket pool-lost main", "lost 3 elements|within 10s"},
	} {
		t.Run(name, func(t *testing.T) {
			if c.bad.list == "" && c.bad.down == nil {
				c.bad.list = calm.list
			}
			const from = 20 * time.Second
			j := judge(t)
			scenes := lasting(calm, 0, from-time.Second)
			last := from + c.after + time.Minute
			scenes = append(scenes, lasting(c.bad, from, last)...)
			scenes = append(scenes, lasting(calm, last+10*time.Second, last+c.keep+time.Minute)...)
			want := []string{fmt.Sprintf("%v firing %s", from+c.after, c.want), fmt.Sprintf("%v resolved %s", last+10*time.Second+c.keep, c.want)}
			if got := told(t, j, scenes...); !slices.Equal(got, want) {
				t.Errorf("got  %q\nwant %q", got, want)
			}
			list := j.Alerts()
			if len(list) != 1 {
				t.Fatalf("%+v", list)
			}
			text := list[0].What + "\n" + list[0].Evidence
			for _, w := range strings.Split(c.words, "|") {
				if !strings.Contains(text, w) {
					t.Errorf("no %q in\n%s", w, text)
				}
			}
			// A condition shorter than its time raises no alert.
			if c.after > 0 {
				short := append(lasting(c.bad, 0, c.after-10*time.Second), lasting(calm, c.after, c.after+time.Hour/4)...)
				if got := told(t, judge(t), short...); len(got) > 0 {
					t.Errorf("too early: %q", got)
				}
			}
		})
	}
}

// oneByOne are connections that were opened every five seconds, and used once.
func oneByOne(name string, n int) (list string) {
	for i := range n {
		list += fmt.Sprintf("id=%d name=%s age=%d idle=%d flags=N\n", i, name, 10+5*i, 9+5*i)
	}
	return list
}

func lost(n uint64) respool.Stats {
	return respool.Stats{Blocking: respool.BlockingStats{Commands: map[string]respool.BlockingCount{"BLPOP": {Lost: n}, "BZPOPMIN": {Lost: 1}}}}
}

func poolStats(before, now respool.Stats) map[string]PoolView {
	return map[string]PoolView{"main": {Before: before, Now: now, Between: 10 * time.Second}}
}

// Alerts about a server that is full, or may soon be, name the ways that work then.
func TestAlertsOfAFullServerNameTheWaysToIt(t *testing.T) {
	hot := &View{State: clusterState(t, epoch, func(st *State) { st.Nodes[2].Last.Connections = 61 })}
	for name, v := range map[string]*View{
		"rejected":           scene{rates: Rates{Known: true, Rejected: 0.2}}.view(t),
		"occupancy-critical": scene{taken: 860}.view(t),
		"exhaustion":         scene{fc: Forecast{Exists: true, Growth: 5, In: 3 * time.Hour, Earliest: 2 * time.Hour, Latest: 5 * time.Hour, Seen: 12 * time.Minute}}.view(t),
		"blocked":            scene{blocked: 60, points: blockedPoints(10)}.view(t),
		"hot-node":           hot,
	} {
		kind := kindOf(name)
		for _, ways := range []struct{ pages, socket, want string }{
			{"", "", "respool who http://HOST:8637), or wait for a free one (respool who URL --wait 60s)"},
			{"http://w:8637", "", "this works while it is full too: respool who http://w:8637"},
			{"http://w:8637", "http+unix:///w", "respool who http://w:8637, respool kill http+unix:///w --service NAME --idle 10m"},
		} {
			if v.Pages, v.Socket = ways.pages, ways.socket; name == "blocked" { // kill --idle spares blocked clients
				ways.want = strings.Replace(ways.want, "--idle 10m", "--cmd blpop", 1)
			}
			if list := kind.find(v, kind.Limit); len(list) != 1 || !strings.HasSuffix(list[0].Remedy, ways.want) {
				t.Errorf("%s: %+v: want %s", name, list, ways.want)
			}
		}
	}
}

// blockedPoints are an hour in which about n clients were blocked.
func blockedPoints(n int64) (list []Point) {
	for i := range 360 {
		list = append(list, Point{At: epoch.Add(time.Duration(i-400) * 10 * time.Second), Blocked: n + int64(i%3) - 1})
	}
	return list
}

func TestWhatHoversAroundALimitDoesNotFlap(t *testing.T) {
	j := judge(t)
	var scenes []scene
	for i := range 360 {
		s := scene{at: time.Duration(i) * 10 * time.Second, taken: 860}
		if i > 30 && i%2 == 0 {
			s.taken = 840 // under the limit, and over nine tenths of it
		}
		if i > 100 && i%5 == 0 {
			s.taken = 100 // for a moment
		}
		scenes = append(scenes, s)
	}
	got := told(t, j, scenes...)
	if want := []string{"2m0s firing page occupancy-critical", "10m0s firing ticket occupancy-high"}; !slices.Equal(got, want) {
		t.Errorf("got %q: want %q", got, want)
	}
}

func TestAServerThatDoesNotAnswerResolvesNothing(t *testing.T) {
	j := judge(t)
	full := scene{taken: 950}
	gone := scene{taken: 950, down: errors.New("gone")}
	scenes := lasting(full, 0, 3*time.Minute)
	scenes = append(scenes, lasting(gone, 190*time.Second, 20*time.Minute)...)
	scenes = append(scenes, lasting(scene{taken: 10}, 1210*time.Second, 30*time.Minute)...)
	got := told(t, j, scenes...)
	want := []string{"2m0s firing page occupancy-critical", "3m30s firing page down",
		"20m30s resolved page down", "21m10s resolved page occupancy-critical"}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestAServerThatIsNotLookedAtAnyMoreEndsItsAlerts(t *testing.T) {
	j := judge(t)
	got := told(t, j, lasting(scene{down: errors.New("gone")}, 0, time.Minute)...)
	for at := 70 * time.Second; at < 3*time.Minute; at += 10 * time.Second {
		for _, a := range j.Look(&View{State: &State{At: epoch.Add(at)}}) {
			got = append(got, fmt.Sprint(at, " ", a.State, " ", a.Rule))
		}
	}
	if want := []string{"20s firing page down", "1m30s resolved down"}; !slices.Equal(got, want) {
		t.Errorf("got %q: want %q", got, want)
	}
}

func TestRulesThatChangeTellNobodyTwice(t *testing.T) {
	j := judge(t)
	bad := scene{taken: 950, rates: Rates{Known: true, Rejected: 1}}
	if got := told(t, j, lasting(bad, 0, 3*time.Minute)...); len(got) != 2 {
		t.Fatalf("%q", got)
	}
	next, err := NewJudge([]Rule{{Name: "occupancy-critical", Severity: Page, Limit: 0.9, For: time.Minute, Keep: 10 * time.Second}})
	if err != nil {
		t.Fatal(err)
	}
	changed := next.Adopt(j, epoch.Add(3*time.Minute))
	if len(changed) != 1 || changed[0].Rule != "rejected" || changed[0].State != Resolved {
		t.Errorf("%+v", changed)
	}
	if got := told(t, next, lasting(bad, 190*time.Second, 10*time.Minute)...); len(got) != 0 {
		t.Errorf("%q", got)
	}
	if got := told(t, next, lasting(scene{taken: 10}, 610*time.Second, 11*time.Minute)...); len(got) != 1 || !strings.Contains(got[0], "resolved page occupancy-critical") {
		t.Errorf("%q", got)
	}
}

func TestBadRulesAreRefused(t *testing.T) {
	good := kindOf("occupancy-critical").Rule
	for want, change := range map[string]func(*Rule){
		`unknown rule "occupation": want one of abandoned, blind, blocked`: func(r *Rule) { r.Name = "occupation" },
		"want a share between 0 and 1":                                     func(r *Rule) { r.Limit = 70 },
		"the limit is -1":                                                  func(r *Rule) { r.Limit = -1 },
		"for is -1s":                                                       func(r *Rule) { r.For = -time.Second },
		"the severity is 9":                                                func(r *Rule) { r.Severity = 9 },
	} {
		r := good
		change(&r)
		if _, err := NewJudge([]Rule{r}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v: want %q", err, want)
		}
	}
}

// For random input, each alert alternates between firing and resolved, and fires and ends only after its times.
func TestAlertsAreToldInTurn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		j, err := NewJudge(nil)
		if err != nil {
			t.Fatal(err)
		}
		firing := map[string]time.Time{}
		resolved := map[string]time.Time{}
		at := time.Duration(0)
		for range rapid.IntRange(1, 300).Draw(t, "looks") {
			at += time.Duration(rapid.Int64Range(1, int64(time.Minute)).Draw(t, "pause"))
			s := scene{at: at, taken: rapid.Int64Range(0, 1000).Draw(t, "taken"), full: rapid.IntRange(0, 9).Draw(t, "full") == 0}
			if rapid.IntRange(0, 9).Draw(t, "down") == 0 {
				s.down = errors.New("down")
			}
			if rapid.Bool().Draw(t, "storm") {
				s.rates = Rates{Known: true, Opened: 500, Rejected: 1}
			}
			now := epoch.Add(at)
			for _, a := range j.Look(s.view(t)) {
				rule := kindOf(a.Rule).Rule
				switch a.State {
				case Firing:
					if _, there := firing[a.ID()]; there || now.Sub(a.Began) < rule.For || a.Began.Before(resolved[a.ID()]) {
						t.Fatalf("%+v", a)
					}
					firing[a.ID()] = now
				case Resolved:
					if f, there := firing[a.ID()]; !there || now.Sub(f) < rule.Keep {
						t.Fatalf("%+v", a)
					}
					delete(firing, a.ID())
					resolved[a.ID()] = now
				default:
					t.Fatalf("told of %+v", a)
				}
			}
		}
		open := map[string]bool{}
		for _, a := range j.Alerts() {
			if a.State == Firing {
				open[a.ID()] = true
			}
		}
		if len(open) != len(firing) {
			t.Fatalf("%d fire, of %v told", len(open), slices.Collect(maps.Keys(firing)))
		}
	})
}
