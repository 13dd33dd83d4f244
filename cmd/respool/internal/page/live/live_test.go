package live

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/monitor"
	"github.com/seed-2b0d76a6/respool/monitor/notify"
)

// fixed is a watch whose state a test sets.
type fixed struct {
	mu     sync.Mutex
	state  *monitor.State
	alerts []monitor.Alert
	list   string // CLIENT LIST
	asked  int    // how often it was read
	sent   map[string][]notify.Delivery
}

func (f *fixed) State() *monitor.State {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	return f.state
}
func (f *fixed) Alerts() []monitor.Alert                   { return f.alerts }
func (f *fixed) QueueStats() []notify.Stats                { return []notify.Stats{{Name: "log", Delivered: 2}} }
func (f *fixed) Deliveries(alert string) []notify.Delivery { return f.sent[alert] }
func (f *fixed) Every() time.Duration                      { return time.Millisecond }
func (f *fixed) Settings() Settings {
	return Settings{Place: "<b>somewhere</b>", Rules: monitor.DefaultRules(), ListEvery: time.Minute, Ceilings: map[string]int64{"cart": 1, "orders": 9}}
}
func (f *fixed) KillURL(node string) string { return "redis://" + node }
func (f *fixed) Reading(_ context.Context, node string) (*monitor.Reading, error) {
	if node != "127.0.0.1:1" {
		return nil, errors.New("unknown node")
	}
	return &monitor.Reading{Listed: true, List: f.list, Own: "me"}, nil
}

// nodeOf returns the state of a server with these clients.
func nodeOf(t *testing.T, limit int64, list string) monitor.NodeState {
	t.Helper()
	snap, err := monitor.NewSnapshot(monitor.Source{At: time.Now(), Info: "run_id:a\r\nrole:master\r\n", List: strings.NewReader(list), Own: "me", Limit: limit, Detail: true})
	if err != nil {
		t.Fatal(err)
	}
	return monitor.NodeState{Addr: "127.0.0.1:1", Role: "primary", Up: true, Since: time.Now(), Last: snap, List: snap}
}

const clientList = "id=1 addr=10.0.0.1:1 name=cart:a user=default cmd=get age=9 idle=8 flags=N tot-mem=9000\n" +
	"id=2 addr=10.0.0.2:1 name=cart:a user=default cmd=set age=99 idle=90 flags=N tot-mem=9000\n" +
	"id=3 addr=10.0.0.3:1 name=<script>x</script> user=it's cmd=get age=9 idle=0 flags=N tot-mem=9000\n" +
	"id=4 addr=10.0.0.4:1 name=me user=default cmd=info age=9 idle=0 flags=N tot-mem=9000\n"

// serve serves a page of a server with the clients of clientList.
func serve(t *testing.T) (*Page, *fixed, string) {
	f := &fixed{list: clientList, state: &monitor.State{At: time.Now(), Nodes: []monitor.NodeState{nodeOf(t, 100, clientList)}}}
	p := New(Config{Command: "respool watch", Source: f})
	url := serveAt(t, p)
	p.Observe(f.state, nil)
	return p, f, url
}

// serveAt serves a page, and returns its address.
func serveAt(t *testing.T, p *Page) string {
	mux := http.NewServeMux()
	p.Register(mux)
	s := httptest.NewServer(mux)
	t.Cleanup(func() { s.Close(); http.DefaultClient.CloseIdleConnections() })
	return s.URL
}

// recorded returns the body of a reply.
func recorded(mux *http.ServeMux, path string) []byte {
	rw := httptest.NewRecorder()
	mux.ServeHTTP(rw, httptest.NewRequest("GET", path, nil))
	return rw.Body.Bytes()
}

// feed reads the events of a stream.
type feed struct {
	t    *testing.T
	body io.ReadCloser
	in   *bufio.Reader
}

func open(t *testing.T, url string) *feed {
	t.Helper()
	r, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Body.Close() })
	return &feed{t, r.Body, bufio.NewReader(r.Body)}
}

// next returns the data of the next event of a name.
func (f *feed) next(name string) string {
	f.t.Helper()
	for at := ""; ; {
		line, err := f.in.ReadString('\n')
		if err != nil {
			f.t.Fatalf("the stream ended before an event %s: %v", name, err)
		}
		if event, ok := strings.CutPrefix(line, "event: "); ok {
			at = strings.TrimSpace(event)
		}
		if data, ok := strings.CutPrefix(line, "data: "); ok && at == name {
			return data
		}
	}
}

func (f *feed) view() (v view) {
	f.t.Helper()
	decode(f.t, f.next("view"), &v)
	return v
}

func decode(t *testing.T, text string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), into); err != nil {
		t.Fatalf("%v: %.300s", err, text)
	}
}

// UnmarshalJSON makes views of tests readable; no test reads the point.
func (p *point) UnmarshalJSON([]byte) error { return nil }

func TestTheDocumentHasNoScriptOrStyleOfItsOwn(t *testing.T) {
	_, _, url := serve(t)
	r, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	text := string(body)
	if !strings.Contains(text, "&lt;b&gt;somewhere&lt;/b&gt;") || strings.Contains(text, "<b>somewhere") {
		t.Error("the place is not escaped")
	}
	for _, bad := range []string{"<style", " style=", " onclick", " onload", "http://", "https://", "<script>"} {
		if strings.Contains(text, bad) {
			t.Errorf("the document contains %q", bad)
		}
	}
	if policy := r.Header.Get("Content-Security-Policy"); !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") {
		t.Errorf("the policy is %q", policy)
	}
	for _, file := range []string{"page.js", "page.css", "uPlot.iife.min.js", "uPlot.min.css"} {
		r, err := http.Get(url + "/page/" + file)
		if err != nil {
			t.Fatal(err)
		}
		r.Body.Close()
		if r.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", file, r.Status)
		}
	}
	for _, file := range []string{"/page/page.html", "/page/", "/page/../live.go", "/nothing"} {
		r, err := http.Get(url + file)
		if err != nil {
			t.Fatal(err)
		}
		r.Body.Close()
		if r.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %s", file, r.Status)
		}
	}
}

func TestScriptsInsertNoMarkup(t *testing.T) {
	err := fs.WalkDir(files, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".js") || strings.Contains(path, "uPlot") {
			return err
		}
		text, err := files.ReadFile(path)
		for _, bad := range []string{"innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"} {
			if bytes.Contains(text, []byte(bad)) {
				t.Errorf("%s contains %s", path, bad)
			}
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestATabReceivesTheHistoryAndEachState(t *testing.T) {
	p, f, url := serve(t)
	tab := open(t, url+"/page/stream")
	var h struct {
		Node   string
		Points [][]*float64
	}
	decode(t, tab.next("history"), &h)
	if h.Node != "127.0.0.1:1" || len(h.Points) != 1 || *h.Points[0][1] != 3 || *h.Points[0][2] != 100 || h.Points[0][3] != nil {
		t.Errorf("%+v: want 3 connections of 100, and unknown rates", h)
	}
	var groups holders
	decode(t, tab.next("holders"), &groups)
	if len(groups.Groupings) != 5 || groups.Groupings[0].Rows[0].Key != "cart" || groups.Groupings[0].Rows[0].Clients != 2 || groups.Groupings[0].Rows[0].Change != nil {
		t.Errorf("%+v", groups)
	}
	v := tab.view()
	if v.Verdict.Level != fine || !strings.HasPrefix(v.Verdict.Text, "3 of 100 connections (3%), no forecast") || v.Churn.Known || len(v.Plan.Rows) < 2 || v.Plan.Rows[0].Level != warning {
		t.Errorf("%+v", v)
	}
	many := clientList
	for i := range 90 {
		many += strings.Replace("id=9N addr=10.0.0.1:7 name=cart:a cmd=get age=9 idle=8 flags=N\n", "N", string(rune('0'+i%10)), 1)
	}
	next := &monitor.State{At: time.Now(), Nodes: []monitor.NodeState{nodeOf(t, 100, many)}}
	f.mu.Lock()
	f.state = next
	f.mu.Unlock()
	p.Observe(next, nil)
	for v = tab.view(); v.Verdict.Level != critical; v = tab.view() {
	}
	if !strings.HasPrefix(v.Verdict.Text, "93 of 100 connections") {
		t.Errorf("%+v", v.Verdict)
	}
}

func TestOneSnapshotIsEncodedOnceForAllTabs(t *testing.T) {
	p, f, url := serve(t)
	var tabs []*feed
	for range 3 {
		tab := open(t, url+"/page/stream?node=127.0.0.1:1")
		tab.view()
		tabs = append(tabs, tab)
	}
	f.mu.Lock()
	before := f.asked
	f.mu.Unlock()
	p.Observe(f.state, nil)
	for _, tab := range tabs {
		tab.view()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.asked-before != 1 {
		t.Errorf("the state was read %d times for 3 tabs", f.asked-before)
	}
}

func TestManyTabsOfOneHostTakeTurns(t *testing.T) {
	_, _, url := serve(t)
	for range tabsOfHost {
		open(t, url+"/page/stream").view()
	}
	tab := open(t, url+"/page/stream")
	tab.view()
	if rest, err := io.ReadAll(tab.in); err != nil || len(rest) > 1 {
		t.Errorf("%q, %v: want the end of the stream", rest, err)
	}
}

func TestAReconnectedTabReceivesWhatItMissed(t *testing.T) {
	p, f, url := serve(t)
	var last int64
	for i := range 5 {
		st := *f.state
		n := st.Nodes[0]
		snap := *n.Last
		snap.At = time.Now().Add(time.Duration(i+1) * time.Second)
		n.Last = &snap
		st.Nodes = []monitor.NodeState{n}
		last = snap.At.UnixMilli()
		p.Observe(&st, nil)
	}
	request, err := http.NewRequest("GET", url+"/page/stream", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Last-Event-ID", fmt.Sprint(last-1500, " 127.0.0.1:1"))
	r, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	tab := &feed{t, r.Body, bufio.NewReader(r.Body)}
	var h struct{ Points [][]*float64 }
	decode(t, tab.next("history"), &h)
	if len(h.Points) != 2 {
		t.Errorf("%d points: want the last 2 of 6", len(h.Points))
	}
}

func TestTheConnectionsOfAGroupHaveCommandsToCloseThem(t *testing.T) {
	_, _, url := serve(t)
	get := func(query string) (l listed) {
		r, err := http.Get(url + "/page/connections?" + query)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		if err := json.NewDecoder(r.Body).Decode(&l); err != nil {
			t.Fatal(err)
		}
		return l
	}
	l := get("node=127.0.0.1:1&by=service&key=cart")
	if l.Count != 2 || l.Rows[0].ID != 2 || l.Kill != "respool kill redis://127.0.0.1:1 --service cart" || l.Rows[0].Kill != "respool kill redis://127.0.0.1:1 --id 2 --addr 10.0.0.2:1" {
		t.Errorf("%+v", l)
	}
	if l := get("node=127.0.0.1:1&by=service&key=me"); l.Count != 0 {
		t.Errorf("%+v: the watch lists itself", l)
	}
	if l := get("node=127.0.0.1:1&by=user&key=it's"); l.Kill != `respool kill redis://127.0.0.1:1 --user 'it'\''s'` {
		t.Errorf("%q", l.Kill)
	}
	if l := get("node=127.0.0.1:1&by=lib&key=(unknown)"); l.Kill != "" || l.Note == "" {
		t.Errorf("%+v: no filter selects the group", l)
	}
	for _, bad := range []string{"node=elsewhere&by=service&key=cart", "node=127.0.0.1:1&by=nothing&key=cart"} {
		if l := get(bad); l.Error == "" {
			t.Errorf("%s: %+v", bad, l)
		}
	}
}
