package live

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/output"
	"github.com/seed-2b0d76a6/respool/monitor"
)

// A server's clients choose their names, of up to 64 KiB each.
func TestLongNamesDoNotFillASnapshot(t *testing.T) {
	list := ""
	for i := range 90 {
		long := strings.Repeat("x", 60<<10)
		list += fmt.Sprintf("id=%d addr=10.0.0.1:%d name=%d%s user=%d%s cmd=get age=9 idle=8 flags=N omem=99999999 tot-mem=9000 lib-name=%d%s\n", i+1, i+1, i, long, i, long, i, long)
	}
	f := &fixed{list: list, state: &monitor.State{At: time.Now(), Nodes: []monitor.NodeState{nodeOf(t, 1000, list)}}}
	f.alerts = []monitor.Alert{{State: monitor.Firing, Finding: monitor.Finding{Rule: "leak", Severity: monitor.Page, Node: "127.0.0.1:1", What: list[:200<<10]}}}
	p := New(Config{Source: f})
	p.Observe(f.state, f.alerts)
	frames := p.frames("127.0.0.1:1")
	if size := len(frames.view) + len(frames.holders) + len(p.historyEvent("127.0.0.1:1", 0)); size > 500<<10 {
		t.Errorf("%d bytes for one tab", size)
	}
	// A group with a long name lists its connections, each with its command.
	_, body, _ := strings.Cut(string(frames.holders), "data: ")
	var h holders
	decode(t, body, &h)
	key := h.Groupings[0].Rows[0].Key
	mux := http.NewServeMux()
	p.Register(mux)
	l := listOf(t, mux, "node=127.0.0.1:1&by=service&key="+key)
	if !strings.HasPrefix(key, hashed) || l.Count != 1 || l.Kill != "" || !strings.Contains(l.Rows[0].Kill, "--id ") || len(l.Rows[0].Name) > 2*output.LongestName {
		t.Errorf("%.100s: %+v", key, l)
	}
}

func TestTextsAreCutBehindAWholeCharacter(t *testing.T) {
	for text, want := range map[string]string{"short": "short", strings.Repeat("é", 200): strings.Repeat("é", 100) + "... (400 bytes)", "x" + strings.Repeat("é", 200): "x" + strings.Repeat("é", 99) + "... (401 bytes)"} {
		if got := cell(text); got != want {
			t.Errorf("%q: want %q", got, want)
		}
	}
	if keyOf("cart") != "cart" || keyOf(hashed+"guess") == hashed+"guess" {
		t.Error("a short name is the key, unless it looks like a hash")
	}
}

// The age of the data grows while the watch waits for a server, also for a tab that opens meanwhile.
func TestATabThatOpensLateSeesTheAgeOfTheData(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fixed{state: &monitor.State{At: time.Now(), Nodes: []monitor.NodeState{nodeOf(t, 100, clientList)}}}
		p := New(Config{Source: f})
		p.Observe(f.state, nil)
		age := func() float64 {
			_, body, _ := strings.Cut(string(p.frames("127.0.0.1:1").view), "data: ")
			var v struct{ Age *float64 }
			decode(t, body, &v)
			return *v.Age
		}
		if first := age(); first != 0 {
			t.Errorf("%v s at first", first)
		}
		time.Sleep(20 * time.Second)
		if late := age(); late != 20 {
			t.Errorf("%v s after 20 s", late)
		}
	})
	v := viewOf(&monitor.State{At: time.Now(), Nodes: []monitor.NodeState{{Addr: "a:1", Err: fmt.Errorf("refused")}}})
	if v.Age != nil {
		t.Errorf("%v s old data of a server that was never read", *v.Age)
	}
}

// A tab that opens before the first server is known shows it when it is, and another one when that has left.
func TestATabFollowsTheNodes(t *testing.T) {
	f := &fixed{state: &monitor.State{At: time.Now()}}
	p := New(Config{Source: f})
	url := serveAt(t, p)
	tab := open(t, url+"/page/stream")
	if v := tab.view(); v.Node != "" || v.Verdict.Level != unknown {
		t.Errorf("%+v", v.Verdict)
	}
	become := func(addr string) {
		t.Helper()
		n := nodeOf(t, 100, clientList)
		n.Addr = addr
		st := &monitor.State{At: time.Now(), Nodes: []monitor.NodeState{n}}
		f.mu.Lock()
		f.state = st
		f.mu.Unlock()
		p.Observe(st, nil)
		var h struct {
			Node   string
			Points [][]*float64
		}
		decode(t, tab.next("history"), &h)
		if h.Node != addr || len(h.Points) != 1 {
			t.Errorf("%+v: want the history of %s", h, addr)
		}
		if v := tab.view(); v.Node != addr || v.Verdict.Level != fine {
			t.Errorf("%s: %+v", v.Node, v.Verdict)
		}
	}
	become("127.0.0.1:1")
	become("127.0.0.1:2")
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.extra) > 1 {
		t.Errorf("the findings of %d nodes are kept: want those of one", len(p.extra))
	}
}

func TestRepliesAreForThisPageOnly(t *testing.T) {
	_, _, url := serve(t)
	for _, path := range []string{"/", "/page/page.js", "/page/connections", "/page/stream"} {
		r, err := http.Get(url + path)
		if err != nil {
			t.Fatal(err)
		}
		r.Body.Close()
		for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Cross-Origin-Resource-Policy": "same-origin", "Content-Security-Policy": policy, "Referrer-Policy": "no-referrer"} {
			if got := r.Header.Get(name); got != want {
				t.Errorf("%s: %s: %q", path, name, got)
			}
		}
	}
}

// A gateway is listed at most once a second for all requests of tabs, and again after connections were closed.
func TestTheClientsOfAGatewayAreListedOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		g := &gatewayWatch{read: func() GatewayStats { return GatewayStats{List: func() string { n++; return fmt.Sprint(n) }} }}
		for range 10 {
			g.clients(time.Now())
		}
		if n != 1 {
			t.Errorf("%d lists at once", n)
		}
		if g.forget(0); g.clients(time.Now()) != "2" {
			t.Error("a list is the same after connections were closed")
		}
		time.Sleep(listFresh)
		if g.clients(time.Now()) != "3" {
			t.Error("a list is older than a second")
		}
	})
}

// listOf requests the connections of a group.
func listOf(t *testing.T, mux *http.ServeMux, query string) (l listed) {
	t.Helper()
	raw := recorded(mux, "/page/connections?"+query)
	if err := json.Unmarshal(raw, &l); err != nil {
		t.Fatalf("%v: %s", err, raw)
	}
	return l
}
