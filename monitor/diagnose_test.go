package monitor

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// shown is a server in a few numbers.
type shown struct {
	at                             time.Duration
	run                            string
	clients, max, opened, commands int
	rejected                       int
	info                           string
	config                         map[string]string
	list                           string
	hidden                         bool // CLIENT LIST is refused
}

func (s shown) snapshot(t *testing.T) *Snapshot {
	t.Helper()
	if s.run == "" {
		s.run = "a"
	}
	src := Source{At: time.Unix(1000, 0).Add(s.at), Config: s.config, Info: fmt.Sprintf(
		"run_id:%s\r\nconnected_clients:%d\r\nmaxclients:%d\r\ntotal_connections_received:%d\r\ntotal_commands_processed:%d\r\nrejected_connections:%d\r\n%s",
		s.run, s.clients+1, s.max, s.opened, s.commands, s.rejected, s.info)}
	if !s.hidden {
		src.List = strings.NewReader(s.list)
	}
	snap, err := NewSnapshot(src)
	if err != nil {
		t.Fatal(err)
	}
	return snap
}

// lines are n connections of a service.
func lines(name string, n int, age, idle time.Duration) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "id=%d addr=10.0.0.1:%d name=%s age=%d idle=%d flags=N db=0\n", i+1, i+1, name, int(age.Seconds()), int(idle.Seconds()))
	}
	return b.String()
}

func TestDiagnose(t *testing.T) {
	calm := shown{clients: 20, max: 1000, opened: 100, commands: 10_000, list: lines("orders:1", 20, time.Hour, 0)}
	later := calm
	later.at, later.opened, later.commands = 10*time.Second, 101, 60_000
	change := func(fn func(*shown)) shown {
		s := later
		fn(&s)
		return s
	}
	for name, c := range map[string]struct {
		before, after shown
		want          string // rule and severity of each, in order
		words         string
	}{
		"all is well":          {calm, later, "", ""},
		"nearly full":          {calm, change(func(s *shown) { s.clients = 700 }), "occupancy-high ticket", "70% of maxclients"},
		"full":                 {calm, change(func(s *shown) { s.clients = 999 }), "occupancy-critical page", "999 connections of 1000"},
		"turned away":          {calm, change(func(s *shown) { s.rejected = 50 }), "rejected page", "5.0 connections a second"},
		"turned away long ago": {shown{max: 1000, rejected: 7}, shown{at: time.Second, max: 1000, rejected: 7}, "rejected note", "7 connections were rejected|does not report its uptime"},
		"turned away since the start": {shown{max: 1000, rejected: 7}, shown{at: time.Second, max: 1000, rejected: 7, info: "uptime_in_seconds:60\r\n"},
			"rejected note", "rejected_connections is 7 after an uptime of 60 s"},
		"a storm": {calm, change(func(s *shown) {
			s.opened = 5100
			s.list += lines("cron:x", 3, time.Second, 0)
		}), "new-connections warn", "500 connections a second|10.0 for each connection"},
		"few commands for each": {calm, change(func(s *shown) { s.opened, s.commands = 120, 10_100 }), "no-reuse warn", "2.0 connections a second|5.0 for each"},
		"growth": {calm, change(func(s *shown) { s.clients, s.list = 50, lines("orders:1", 50, time.Minute, 0) }), "growth page",
			"orders opens 180 connections a minute more|20 connections, 10s later 50|full in 5m17s"},
		"growth that takes long": {calm, change(func(s *shown) {
			s.max, s.clients, s.list = 1_000_000, 50, lines("orders:1", 50, time.Minute, 0)
		}), "growth warn", "180 connections a minute"},
		"a leak": {calm, change(func(s *shown) {
			s.list = lines("orders:1", 12, time.Hour, 20*time.Minute) + lines("orders:2", 8, time.Hour, 0)
		}), "leak warn", "orders holds 12 connections|12 of its 20 connections; the longest for 20m0s"},
		"a leak that goes on":            {calm, change(func(s *shown) { s.list = oneByOne("cart:1", 12) }), "growth page, abandoned warn", "cart opens 12 connections a minute"},
		"a pool that was filled at once": {calm, change(func(s *shown) { s.list = lines("orders:1", 20, time.Hour, time.Hour/10) }), "oversized note", "keeps 20 connections and used 0 of them"},
		"settings": {calm, change(func(s *shown) { s.config = map[string]string{"tcp-keepalive": "0", "timeout": "30"} }),
			"tcp-keepalive warn, timeout note", "idle for 30 s"},
		"slow readers": {calm, change(func(s *shown) { s.info = "mem_clients_normal:900000000\r\nused_memory:2000000000\r\n" }), "buffers warn", "858 MiB"},
		"restarted": {shown{run: "a", clients: 20, max: 1000, opened: 9_000_000, commands: 5, rejected: 9},
			shown{run: "b", at: time.Second, clients: 20, max: 1000, opened: 10_000_000, commands: 10, rejected: 0}, "", ""},
		"counters that went back": {shown{clients: 2, max: 10, opened: 50}, shown{at: time.Second, clients: 2, max: 10, opened: 2}, "", ""},
		"nothing is shown":        {shown{hidden: true}, shown{at: time.Second, hidden: true}, "", ""},
		"no time passed":          {calm, calm, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			found := Diagnose(c.before.snapshot(t), c.after.snapshot(t))
			var got []string
			text := ""
			for _, f := range found {
				got = append(got, f.Rule+" "+f.Severity.String())
				text += f.What + "\n" + f.Evidence + "\n"
				if f.Remedy == "" || f.Evidence == "" {
					t.Errorf("%+v", f)
				}
			}
			if strings.Join(got, ", ") != c.want {
				t.Errorf("got %q: want %q", got, c.want)
			}
			for _, w := range strings.Split(c.words, "|") {
				if !strings.Contains(text, w) {
					t.Errorf("no %q in\n%s", w, text)
				}
			}
		})
	}
}

func TestSnapshotsTakeTheLimitFromWhereItIs(t *testing.T) {
	for want, s := range map[int64]Source{
		7: {Limit: 7, Info: "maxclients:9\r\n", Config: map[string]string{"maxclients": "8"}},
		9: {Info: "maxclients:9\r\n", Config: map[string]string{"maxclients": "8"}},
		8: {Config: map[string]string{"maxclients": "8"}},
		0: {},
	} {
		snap, err := NewSnapshot(s)
		if err != nil || snap.MaxClients != want {
			t.Errorf("got %d, %v: want %d", snap.MaxClients, err, want)
		}
	}
	snap, err := NewSnapshot(Source{Own: "me", List: strings.NewReader("id=1 name=me\nid=2 name=you\nid=3 flags=S\n")})
	if err != nil || snap.Connections != 2 || snap.Replication != 1 || snap.Clients.Total().Clients != 1 {
		t.Errorf("%+v, %v", snap, err)
	}
}

// A service that opens a connection for each request has hardly any at a time:
// looks in between show it.
func TestDiagnoseNamesWhoOpensShortConnections(t *testing.T) {
	look := func(second int, ids ...int) *Snapshot {
		list := lines("orders:1", 20, time.Hour, 0)
		for _, id := range ids {
			list += fmt.Sprintf("id=%d name=cron:x age=0 idle=0 flags=N\n", id)
		}
		list += fmt.Sprintf("id=%d name=deploy:x age=%d idle=0 flags=N\n", 900, second) // young, and stays
		return shown{at: time.Duration(second) * time.Second, max: 1000, clients: 20, opened: 500 * second, commands: 5000 * second, list: list}.snapshot(t)
	}
	found := Diagnose(look(1), look(5, 105), look(2, 101), look(3, 102, 103), look(4))
	if len(found) != 1 || !strings.Contains(found[0].What, "500 connections a second are opened, most of them by cron") || !strings.Contains(found[0].Evidence, "cron owns 100% of the short connections") {
		t.Errorf("%+v", found)
	}
	if found := Diagnose(look(1), look(5)); len(found) != 1 || strings.Contains(found[0].What, "most of them") {
		t.Errorf("%+v", found)
	}
}

// kill --idle spares blocked clients, so the remedy selects them by their command.
func TestBlockedClientsAreSelectedByTheirCommand(t *testing.T) {
	list := ""
	for i := range 30 {
		name, cmd := "orders:1:main", "blpop"
		if i < 8 {
			name, cmd = "it's mail", "xreadgroup"
		}
		list += fmt.Sprintf("id=%d addr=10.0.0.1:%d name=%s age=9 idle=9 flags=b cmd=%s\n", i+1, i+1, name, cmd)
	}
	snap := shown{clients: 30, max: 100, list: list + lines("orders:1", 40, time.Hour, 0), info: "total_blocking_keys:2\r\n"}.snapshot(t)
	if got, want := snap.blockedFilter(), "--service orders --cmd blpop"; got != want {
		t.Errorf("%s: want %s", got, want)
	}
	if got, want := snap.blockedFilter("it's mail"), `--service 'it'\''s mail' --cmd xreadgroup`; got != want {
		t.Errorf("%s: want %s", got, want)
	}
	if got := snap.blockedFilter("cart"); got != "" {
		t.Errorf("%s: want none", got)
	}
	if got := blockedKeys(snap); got != "; all blocked clients wait for 2 keys, as INFO counts them" {
		t.Error(got)
	}
}

// Alerts are by rule, node and subject, so findings about one subject are one.
func TestFindingsAboutOneServiceAreOneAlert(t *testing.T) {
	var list string
	for i := range 3 {
		list += fmt.Sprintf("id=%d addr=10.0.0.1:%d name=export:1:main age=9 idle=9 flags=N cmd=get omem=%d\n", i+1, i+1, (20+i)<<20)
	}
	snap := shown{clients: 3, max: 100, list: list}.snapshot(t)
	v := &View{State: &State{Nodes: []NodeState{{Addr: "r:1", Up: true, Last: snap, List: snap}}}}
	found := findBuffers(v, 16)
	if len(found) != 1 || found[0].Node != "r:1" || !strings.HasPrefix(found[0].What, "client 3 ") || strings.Count(found[0].Evidence, "; also: client ") != 2 {
		t.Errorf("%+v", found)
	}
	if found := findBuffers(v, 22); len(found) != 1 || strings.Contains(found[0].Evidence, "also") {
		t.Errorf("%+v", found)
	}
}

// Connections without names that end at once have no process: the storm says so, and describes them otherwise.
func TestAStormOfConnectionsWithoutNamesIsDescribed(t *testing.T) {
	short := func(at, first int, names ...string) *Snapshot {
		list := ""
		for i, name := range names {
			list += fmt.Sprintf("id=%d addr=10.0.0.9:%d name=%s age=0 idle=0 flags=N cmd=get user=default\n", first+i, 4000+first+i, name)
		}
		return shown{at: time.Duration(at) * time.Second, clients: len(names), max: 100, opened: 200 * at, commands: 400 * at, list: list}.snapshot(t)
	}
	find := func(names ...string) Finding {
		for _, f := range Diagnose(short(0, 1, names...), short(2, 101, names...), short(1, 51, names...)) {
			if f.Rule == "new-connections" {
				return f
			}
		}
		t.Fatal("no storm was found")
		return Finding{}
	}
	f := find("", "", "orders:1:main")
	if want := "they have no names, and end before their process can be found; most have: last command get, user default, address 10.0.0.9"; !strings.HasSuffix(f.Evidence, want) || !strings.Contains(f.Remedy, "client_name= in redis-py") {
		t.Errorf("%+v: want %s", f, want)
	}
	if f := find("search:1:main", "search:2:main", ""); !strings.Contains(f.Evidence, "search owns 67% of the short connections seen") || strings.Contains(f.Evidence, "no names") {
		t.Errorf("%+v", f)
	}
}
