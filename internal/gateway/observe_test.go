package gateway_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/gateway"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
	"github.com/seed-2b0d76a6/respool/resp"
)

// With the least threshold, every command is slow.
func TestTheSlowLogShowsKeysAndNoValues(t *testing.T) {
	cfg := gateway.Config{SlowThreshold: 1, Users: map[string]gateway.User{
		"default": {Commands: []string{"all"}}, "app": {Passwords: []string{hash("hushhush")}},
	}}
	onEach(t, cfg, func(t *testing.T, h *testGateway, dial func() *peer) {
		p := dial()
		p.send("AUTH app hushhush", "SET user:1 hushhush", "MSET a hushhush b hushhush c hushhush d hushhush", "GET a",
			"MULTI", "SET k hushhush", "GET k", "EXEC", "WATCH k", "APPEND k hushhush", "UNWATCH",
			"EVAL return{KEYS[1],ARGV[1]} 1 script:key hushhush", "BLPOP none 0.01", "PING", "ECHO hushhush", "HUSHHUSH x")
		for range 16 {
			p.frame()
		}
		console := dial()
		log := ""
		for _, want := range []string{`command="SET user:1"`, `command="MSET a b c (and 1 keys)"`, `command="GET a"`,
			`command="a transaction of 2 commands"`, `command="WATCH k"`, `command="APPEND k"`, `command="EVAL script:key"`, "user=app"} {
			testkit.Eventually(t, want, func() bool { // an entry comes when its reply is written
				log = console.ask("RESPOOL SLOW 100")
				return strings.Contains(log, want)
			})
		}
		for _, secret := range []string{"hushhush", "HUSHHUSH", "BLPOP", "AUTH", "PING", "ECHO", "ARGV"} {
			if strings.Contains(log, secret) {
				t.Errorf("%s: want no %s", log, secret)
			}
		}
		if got := console.ask("RESPOOL SLOW 1"); strings.Count(got, "id=") != 1 {
			t.Errorf("%s: want one entry", got)
		}
		if got := console.ask("RESPOOL SLOW -1"); !strings.Contains(got, "want a number of entries, or RESET") {
			t.Error(got)
		}
		if got := console.ask("RESPOOL SLOW RESET"); got != "+OK|" {
			t.Error(got)
		}
		if got := console.ask("RESPOOL SLOW"); strings.Contains(got, "user:1") {
			t.Error(got)
		}
		if h.Stats().Slow == 0 {
			t.Error("want a count of slow commands")
		}
	})
}

var slowTimes = regexp.MustCompile(`queue=(\S+) server=(\S+) write=(\S+) .*command="(\S+) `)

// timesOf waits until the newest slow command is this one, and returns its times.
func timesOf(t *testing.T, console *peer, command string) (queue, server time.Duration) {
	t.Helper()
	var m []string
	testkit.Eventually(t, command+" is in the slow log", func() bool {
		m = slowTimes.FindStringSubmatch(console.ask("RESPOOL SLOW 1"))
		return m != nil && m[4] == command
	})
	queue, _ = time.ParseDuration(m[1])
	server, _ = time.ParseDuration(m[2])
	return queue, server
}

func TestTheSlowLogSeparatesItsTimes(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	const threshold = 50 * time.Millisecond
	h := open(t, s.URL()+"?max_connections=3", gateway.Config{SlowThreshold: threshold})
	console, p := h.dial(), h.dial()
	spin := `local t = redis.call('TIME') repeat local n = redis.call('TIME') until (n[1]-t[1])*1000000+n[2]-t[2] > 60000`
	raw, err := resp.AppendCommand(nil, []any{"EVAL", spin, 1, "k"})
	if err != nil {
		t.Fatal(err)
	}
	p.write(string(raw))
	p.want("$-1|")
	if queue, server := timesOf(t, console, "EVAL"); server < threshold {
		t.Errorf("queue %v, server %v", queue, server)
	}
	console.ask("RESPOOL PAUSE")
	p.send("GET a")
	testkit.Eventually(t, "the client waits", func() bool { return strings.Contains(console.ask("RESPOOL CLIENTS"), "state=paused") })
	time.AfterFunc(threshold, h.Resume)
	p.want("$-1|")
	if queue, server := timesOf(t, console, "GET"); queue < threshold {
		t.Errorf("queue %v, server %v", queue, server)
	}
}

// The entry of a reply comes when the client has taken it.
func TestTheSlowLogMeasuresASlowReader(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	h := open(t, s.URL(), gateway.Config{SlowThreshold: 1})
	const size = 16 << 20 // more than the kernel takes
	s.Do("SETRANGE", "large", fmt.Sprint(size-1), "x")
	console, p := h.dial(), h.dial()
	p.send("GET large")
	testkit.Await(t, "the gateway holds the reply", h.Stats, func(s gateway.Stats) bool { return s.Buffered > size/4 })
	if got := console.ask("RESPOOL SLOW"); strings.Contains(got, "GET large") {
		t.Errorf("%s: the client has not read its reply", got)
	}
	p.frame()
	testkit.Eventually(t, "the entry comes", func() bool { return strings.Contains(console.ask("RESPOOL SLOW 100"), `command="GET large"`) })
	want := fmt.Sprintf(`largest=%d count=1 bytes=%d `, size+len("$16777216\r\n\r\n"), size+len("$16777216\r\n\r\n"))
	if got := console.ask("RESPOOL BIG"); !strings.Contains(got, want) || !strings.Contains(got, `command="GET large"`) {
		t.Errorf("%s: want %s", got, want)
	}
}

func TestHotKeysAreCounted(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	h := open(t, s.URL(), gateway.Config{})
	p := h.dial()
	var lines []string
	for i := range 8192 {
		key := "hot"
		if i%2 > 0 {
			key = fmt.Sprint("cold:", i)
		}
		lines = append(lines, "GET "+key)
	}
	go p.send(lines...)
	for range lines {
		p.want("$-1|")
	}
	got := p.ask("RESPOOL HOT 1")
	var share float64
	if _, err := fmt.Sscanf(got[strings.Index(got, "key="):], `key="hot" share=%f%%`, &share); err != nil || share < 30 || share > 70 {
		t.Errorf("%s: want the key hot with half of the uses", got)
	}
	p.ask("RESPOOL HOT RESET")
	if got := p.ask("RESPOOL HOT"); strings.Contains(got, "hot") {
		t.Error(got)
	}
	if err := h.Reload(gateway.Config{NoHotKeys: true, SlowThreshold: -1}); err != nil {
		t.Fatal(err)
	}
	p.ask("RESPOOL SLOW RESET")
	s.Do("SETRANGE", "large", "100000", "x")
	go p.send(append(lines, "GET large")...)
	for range lines {
		p.want("$-1|")
	}
	p.frame()
	for _, list := range []string{"HOT", "BIG"} {
		if got := p.ask("RESPOOL " + list); got != "*0|" {
			t.Errorf("%s: %s", list, got)
		}
	}
	if got := p.ask("RESPOOL SLOW"); strings.Contains(got, "large") {
		t.Error(got)
	}
}
