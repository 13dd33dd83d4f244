package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/redistest"
	"github.com/seed-2b0d76a6/respool/monitor"
)

// receiver is a webhook.
type receiver struct {
	*httptest.Server
	mu   sync.Mutex
	got  []monitor.Alert
	more chan struct{}
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{more: make(chan struct{}, 1)}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		var body struct{ Alerts []monitor.Alert }
		if err := json.NewDecoder(req.Body).Decode(&body); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		r.mu.Lock()
		r.got = append(r.got, body.Alerts...)
		r.mu.Unlock()
		select {
		case r.more <- struct{}{}:
		default:
		}
	}))
	t.Cleanup(r.Close)
	return r
}

// told gives what was told, as "firing rule subject".
func (r *receiver) told() (list []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range r.got {
		list = append(list, strings.TrimSpace(a.State.String()+" "+a.Rule+" "+a.Subject))
	}
	return list
}

// until waits until something was told.
func (r *receiver) until(t *testing.T, what string) {
	t.Helper()
	limit := time.NewTimer(time.Minute)
	defer limit.Stop()
	for !slices.Contains(r.told(), what) {
		select {
		case <-r.more:
		case <-limit.C:
			t.Fatalf("nobody was told %q: %q", what, r.told())
		}
	}
}

// watching is a daemon that runs.
type watching struct {
	*daemon
	file string
	hup  chan os.Signal
	base string // of its pages
	log  *lockedBuffer
	stop func() error
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// watch starts a daemon with a configuration, to which its address is added.
func watch(t *testing.T, config string) *watching {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	w := &watching{file: written(t, "respool.yaml", config+"\nlisten: "+addr+"\n"), hup: make(chan os.Signal), base: "http://" + addr, log: &lockedBuffer{}}
	cmd := &watchCmd{Config: w.file}
	s, err := cmd.read()
	if err != nil {
		t.Fatal(err)
	}
	w.daemon = &daemon{cmd: cmd, log: slog.New(slog.NewTextHandler(w.log, nil))}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.run(ctx, s, w.hup) }()
	w.stop = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() {
		if err := w.stop(); err != nil {
			t.Error(err)
		}
		http.DefaultClient.CloseIdleConnections()
	})
	return w
}

// get asks a page.
func (w *watching) get(t *testing.T, path string) (code int, body string) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); ; {
		answer, err := http.Get(w.base + path)
		if err == nil {
			raw, err := io.ReadAll(answer.Body)
			answer.Body.Close()
			if err != nil {
				t.Fatal(err)
			}
			return answer.StatusCode, string(raw)
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond) // it is about to listen
	}
}

func (w *watching) snapshot(t *testing.T) (r snapshotReport) {
	t.Helper()
	code, body := w.get(t, "/api/snapshot")
	if err := json.Unmarshal([]byte(body), &r); err != nil || code != 200 {
		t.Fatalf("%d, %v: %s", code, err, body)
	}
	return r
}

func (w *watching) alerts(t *testing.T) (r alertsReport) {
	t.Helper()
	code, body := w.get(t, "/api/alerts")
	if err := json.Unmarshal([]byte(body), &r); err != nil || code != 200 {
		t.Fatalf("%d, %v: %s", code, err, body)
	}
	return r
}

// crowd is many plain connections of one service.
type crowd struct {
	t    *testing.T
	addr string
	name string
	open []net.Conn
}

// add opens n more, and reports how many were let in.
func (c *crowd) add(n int) (in int) {
	for range n {
		conn, err := net.Dial("tcp", c.addr)
		if err != nil {
			c.t.Error(err)
			return in
		}
		_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
		fmt.Fprintf(conn, "CLIENT SETNAME %s\r\n", c.name)
		answer := make([]byte, 64)
		if k, _ := conn.Read(answer); !strings.HasPrefix(string(answer[:k]), "+OK") {
			conn.Close()
			continue
		}
		in++
		c.open = append(c.open, conn)
	}
	return in
}

func (c *crowd) close() {
	for _, conn := range c.open {
		conn.Close()
	}
	c.open = nil
}

// storm opens short connections until it is stopped: each lives for 20 ms, five at a time.
func storm(addr, name string) (stop func()) {
	end := make(chan struct{})
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() {
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			for {
				conn, err := net.Dial("tcp", addr)
				if err == nil {
					_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
					fmt.Fprintf(conn, "CLIENT SETNAME %s\r\nGET x\r\n", name)
					_, _ = conn.Read(make([]byte, 64))
				}
				select {
				case <-end:
				case <-tick.C:
				}
				if err == nil {
					conn.Close()
				}
				select {
				case <-end:
					return
				default:
				}
			}
		})
	}
	return func() { close(end); wg.Wait() }
}

// The whole story on one server: a leak, a storm and a fixed pool.
func TestALeakAStormAndAFixedPool(t *testing.T) {
	s := redistest.Start(t, redistest.Config{MaxClients: 500})
	fixed := &crowd{t: t, addr: s.PlainAddr(), name: "fixed:pod-1:main"}
	fixed.add(40)
	defer fixed.close()
	leak := &crowd{t: t, addr: s.PlainAddr(), name: "leaky:pod-1:main"}
	defer leak.close()
	hook := newReceiver(t)
	plan := written(t, "plan.yaml", "server: {maxclients: 500}\nservices:\n  leaky: {pods: 1, surge: 0%, max_connections: 100}\n  fixed: {pods: 1, surge: 0%, max_connections: 50}\n")
	w := watch(t, fmt.Sprintf(`
url: %s
every: 50ms
list_every: 100ms
plan: %s
rules:
  new-connections: {limit: 60, for: 300ms, keep: 300ms}
  no-reuse: off
  ceiling: {for: 100ms, keep: 100ms}
  occupancy-high: {for: 200ms, keep: 200ms}
  occupancy-critical: {for: 200ms, keep: 200ms}
  rejected: {keep: 300ms}
tell: [{webhook: {url: %q}}]
`, s.URL(), plan, hook.URL))

	stopStorm := storm(s.PlainAddr(), "stormy:pod-1:main")
	defer func() {
		if stopStorm != nil {
			stopStorm()
		}
	}()
	hook.until(t, "firing new-connections")
	leak.add(60)
	checkDoctor(t, s.URL(), leak)
	leak.add(100)
	hook.until(t, "firing ceiling leaky")
	checkWho(t, s, leak)
	leak.add(110)
	hook.until(t, "firing occupancy-high")
	leak.add(90)
	hook.until(t, "firing occupancy-critical")
	if in := leak.add(200); in >= 200 {
		t.Errorf("all %d were let in", in)
	}
	hook.until(t, "firing rejected")

	// The server is full, and the watch goes on.
	if r := w.snapshot(t); len(r.Nodes) != 1 || !r.Nodes[0].Up || r.Nodes[0].Connections < 490 || time.Since(r.At) > 30*time.Second {
		t.Errorf("%+v", r)
	}
	if r := w.alerts(t); !strings.HasPrefix(r.Verdict, "critical (2 page, 1 ticket, 2 warn)") {
		t.Errorf("%s", r.Verdict)
	}
	stopStorm()
	stopStorm = nil
	leak.add(50) // the places that the storm left
	code, _, errs := call(t, "doctor", s.URL(), "--for", "100ms")
	if code != 2 || !strings.Contains(errs, "max number of clients reached") {
		t.Errorf("exit %d: %s", code, errs)
	}
	leak.close()
	for _, what := range []string{"rejected", "occupancy-critical", "occupancy-high", "ceiling leaky", "new-connections"} {
		hook.until(t, "resolved "+what)
	}
	if err := w.stop(); err != nil {
		t.Error(err)
	}
	checkStory(t, hook)
}

// checkStory wants each alert told once when it fired and once when it was over, in order.
func checkStory(t *testing.T, hook *receiver) {
	t.Helper()
	told := hook.told()
	want := []string{"firing new-connections", "firing ceiling leaky", "firing occupancy-high", "firing occupancy-critical", "firing rejected"}
	if len(told) != 10 || !slices.Equal(told[:5], want) {
		t.Errorf("told %q", told)
	}
	for _, a := range hook.got {
		if a.What == "" || a.Evidence == "" || a.Remedy == "" || a.Node == "" {
			t.Errorf("%+v", a)
		}
	}
	text := fmt.Sprintf("%+v", hook.got)
	for _, w := range []string{"held by leaky", "most of them by stormy", "leaky has 1"} {
		if !strings.Contains(text, w) {
			t.Errorf("no %q in what was told", w)
		}
	}
}

// checkDoctor wants all three services named rightly, while the leak goes on.
func checkDoctor(t *testing.T, url string, leak *crowd) {
	t.Helper()
	end := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for range 30 {
			leak.add(2)
			select {
			case <-end:
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
	})
	r := doctorJSON(t, exitFailed, url, "--for", "2s")
	close(end)
	wg.Wait()
	text := fmt.Sprintf("%+v", r.Findings)
	for _, w := range []string{"leaky opens", "most of them by stormy"} {
		if !strings.Contains(text, w) {
			t.Errorf("no %q in %s", w, text)
		}
	}
	if strings.Contains(text, "fixed") {
		t.Errorf("the fixed pool is blamed: %s", text)
	}
	holders := map[string]holderReport{}
	for _, h := range r.Holders {
		holders[h.Service] = h
	}
	if h := holders["fixed"]; h.Clients != 40 || *h.Change != 0 {
		t.Errorf("the fixed pool: %+v", h)
	}
	if h := holders["leaky"]; h.Clients < 60 || *h.Change < 60 {
		t.Errorf("the leak: %+v", h)
	}
}

// checkWho wants the sums of who and of CLIENT LIST to agree.
func checkWho(t *testing.T, s *redistest.Server, leak *crowd) {
	t.Helper()
	code, out, errs := call(t, "who", s.URL(), "--json")
	var r whoReport
	if err := json.Unmarshal([]byte(out), &r); err != nil || code != 0 {
		t.Fatalf("exit %d, %v: %s%s", code, err, out, errs)
	}
	n := map[string]int{}
	sum := 0
	for _, g := range r.Groups {
		n[g.Key[0]] = g.Clients
		sum += g.Clients
	}
	if n["leaky"] != len(leak.open) || n["leaky"] != strings.Count(s.Do("CLIENT", "LIST"), "name=leaky:") || n["fixed"] != 40 || sum != r.Connections {
		t.Errorf("%+v, of %d", n, len(leak.open))
	}
}

func TestReload(t *testing.T) {
	s := redistest.Start(t, redistest.Config{MaxClients: 20})
	hook, second := newReceiver(t), newReceiver(t)
	full := &crowd{t: t, addr: s.PlainAddr(), name: "full:1:main"}
	full.add(17)
	defer full.close()
	const text = "url: %s\nevery: %s\nlist_every: 20ms\nrules: {occupancy-critical: {for: 50ms, keep: 50ms}, occupancy-high: %s, new-connections: off, no-reuse: off}\ntell: [{webhook: {url: %q}}]\n"
	w := watch(t, fmt.Sprintf(text, s.URL(), "20ms", "off", hook.URL))
	hook.until(t, "firing occupancy-critical")
	listen := "listen: " + strings.TrimPrefix(w.base, "http://") + "\n"
	change := func(text, want string) {
		t.Helper()
		n := strings.Count(w.log.String(), want)
		if err := os.WriteFile(w.file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		w.hup <- os.Interrupt
		for end := time.Now().Add(30 * time.Second); strings.Count(w.log.String(), want) == n; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("no %q in the log:\n%s", want, w.log)
			}
		}
	}
	// A bad one is refused, and the old one kept.
	change("url: redis://x\nevry: 1s\n", "refused, the old one kept")
	change(fmt.Sprintf(text, s.URL(), "20ms", "off", "ftp://x"), "refused, the old one kept")
	if r := w.snapshot(t); !r.Nodes[0].Up {
		t.Errorf("%+v", r)
	}
	// Other rules: who was told is not told again.
	change(fmt.Sprintf(text, s.URL(), "20ms", "{for: 10ms}", hook.URL)+listen, "in force")
	hook.until(t, "firing occupancy-high")
	// A sink beside it hears of what there is, and the one that stays nothing.
	third := newReceiver(t)
	both := fmt.Sprintf(text, s.URL(), "20ms", "{for: 10ms}", hook.URL) + listen
	change(strings.Replace(both, "tell: [", fmt.Sprintf("tell: [{webhook: {url: %q}}, ", third.URL), 1), "in force")
	third.until(t, "firing occupancy-critical")
	third.until(t, "firing occupancy-high")
	// Another sink hears of what there is. Another period begins anew to look.
	change(fmt.Sprintf(text, s.URL(), "30ms", "{for: 10ms, keep: 10ms}", second.URL)+listen, "in force")
	second.until(t, "firing occupancy-critical")
	second.until(t, "firing occupancy-high")
	full.close()
	second.until(t, "resolved occupancy-critical")
	second.until(t, "resolved occupancy-high")
	if got := hook.told(); !slices.Equal(got, []string{"firing occupancy-critical", "firing occupancy-high"}) {
		t.Errorf("%q", got)
	}
	if n := len(second.told()); n != 4 {
		t.Errorf("%q", second.told())
	}
	if err := w.stop(); err != nil {
		t.Error(err)
	}
	s.WaitClients(t, 0, 30*time.Second)
}

func TestWatchShowsWhatHappensToTheServer(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	hook := newReceiver(t)
	w := watch(t, fmt.Sprintf("url: %s\nevery: 20ms\nlist_every: 20ms\nrules: {down: {for: 100ms, keep: 100ms}}\ntell: [{webhook: {url: %q}}]\n", s.URL(), hook.URL))
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		if r := w.snapshot(t); len(r.Nodes) == 1 && r.Nodes[0].Up {
			break
		}
		if time.Now().After(end) {
			t.Fatal("never up")
		}
	}
	s.Kill()
	hook.until(t, "firing down")
	if r := w.snapshot(t); r.Nodes[0].Up || r.Nodes[0].Error == "" {
		t.Errorf("%+v", r)
	}
	if code, body := w.get(t, "/healthz"); code != 200 || !strings.Contains(body, `"nodes_up": 0`) {
		t.Errorf("%d %s", code, body)
	}
	s.Restart()
	hook.until(t, "resolved down")
	if r := w.snapshot(t); !r.Nodes[0].Up || r.Nodes[0].Restarts != 1 {
		t.Errorf("%+v", r)
	}
	if got := hook.told(); !slices.Equal(got, []string{"firing down", "resolved down"}) {
		t.Errorf("a false alert: %q", got)
	}
	for path, want := range map[string]int{"/": 200, "/metrics": 200, "/nothing": 404} {
		if code, body := w.get(t, path); code != want {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
	answer, err := http.Post(w.base+"/api/alerts", "text/plain", nil)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusMethodNotAllowed {
		t.Error(answer.Status)
	}
}

// serviceWatch watches a service, and tells when all its nodes are as they should be.
type serviceWatch struct {
	*watching
	set  *redistest.SentinelSet
	hook *receiver
}

func watchService(t *testing.T, rules string) *serviceWatch {
	t.Helper()
	set := redistest.StartSentinels(t, redistest.SentinelConfig{})
	hook := newReceiver(t)
	return &serviceWatch{watch(t, fmt.Sprintf("url: %q\nevery: 50ms\nlist_every: 50ms\nrules: %s\ntell: [{webhook: {url: %q}}]\n", set.URL(), rules, hook.URL)), set, hook}
}

// primary waits until a primary and so many replicas are up, and gives the primary's address.
func (w *serviceWatch) primary(t *testing.T, replicas int) string {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		r := w.snapshot(t)
		roles := map[string]int{}
		for _, n := range r.Nodes {
			if n.Up {
				roles[n.Role]++
			}
		}
		if roles["primary"] == 1 && roles["replica"] == replicas {
			return r.Nodes[0].Addr
		}
		if time.Now().After(end) {
			t.Fatalf("%+v", r)
		}
	}
}

// A failover is no trouble of anybody's.
func TestWatchThroughAFailover(t *testing.T) {
	w := watchService(t, "{}")
	before := w.primary(t, 2)
	w.set.Failover()
	for end := time.Now().Add(time.Minute); w.primary(t, 2) == before; {
		if time.Now().After(end) {
			t.Fatal("the old primary is shown still")
		}
	}
	if err := w.stop(); err != nil {
		t.Error(err)
	}
	if got := w.hook.told(); len(got) != 0 {
		t.Errorf("false alerts: %q", got)
	}
}

// A primary that is killed is down, and the others are not.
func TestWatchThroughAKilledPrimary(t *testing.T) {
	w := watchService(t, "{down: {for: 100ms, keep: 100ms}}")
	before := w.primary(t, 2)
	old := w.set.NodeAt(before)
	old.Kill()
	w.hook.until(t, "firing down")
	if now := w.primary(t, 1); now == before {
		t.Error("the old primary is shown still")
	}
	old.Restart()
	w.hook.until(t, "resolved down")
	w.primary(t, 2)
	if err := w.stop(); err != nil {
		t.Error(err)
	}
	if got := w.hook.told(); !slices.Equal(got, []string{"firing down", "resolved down"}) {
		t.Errorf("told %q", got)
	}
	for _, a := range w.hook.got {
		if a.Node != before || a.Service != w.set.Name() {
			t.Errorf("%+v", a)
		}
	}
}

func TestKillClosesWhatMatches(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	cart, orders := &crowd{t: t, addr: s.PlainAddr(), name: "cart:1:main"}, &crowd{t: t, addr: s.PlainAddr(), name: "orders:1:main"}
	cart.add(30)
	orders.add(5)
	defer cart.close()
	defer orders.close()
	ask := func(want int, args ...string) (r killReport) {
		t.Helper()
		code, out, errs := call(t, append([]string{"kill", s.URL(), "--json"}, args...)...)
		if err := json.Unmarshal([]byte(out), &r); err != nil || code != want {
			t.Fatalf("exit %d, %v: %s%s", code, err, out, errs)
		}
		return r
	}
	count := func(name string) int { return strings.Count(s.Do("CLIENT", "LIST"), "name="+name) }
	setname := "client|setname"
	if !s.Version().Since(7, 0) {
		setname = "client" // it tells no more
	}
	if r := ask(0, "--service", "cart"); !r.DryRun || r.Matching != 30 || r.Closed != 0 || len(r.Clients) != mostShown || count("cart") != 30 {
		t.Errorf("%+v", r)
	}
	if r := ask(0, "--service", "cart", "--idle", "1h", "--yes"); r.Matching != 0 {
		t.Errorf("%+v", r)
	}
	if r := ask(0, "--service", "cart", "--yes", "--max", "20", "--rate", "1000"); r.Closed != 20 || r.Left != 10 || count("cart") != 10 {
		t.Errorf("%+v", r)
	}
	if r := ask(0, "--name", "cart:1:main", "--addr", "127.0.0.1", "--user", "default", "--cmd", setname, "--yes", "--rate", "1000"); r.Closed != 10 || count("cart") != 0 || count("orders") != 5 {
		t.Errorf("%+v", r)
	}
	s.Do("ACL", "SETUSER", "reader", "on", ">pw", "+@all", "-client", "+client|list", "+client|id", "+client|setname")
	code, out, errs := call(t, "kill", strings.Replace(s.URL(), "redis://", "redis://reader:pw@", 1), "--service", "orders", "--yes")
	if code != 2 || !strings.Contains(out, "0 of 5") || !strings.Contains(errs, "after 0 connections") || count("orders") != 5 {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
	code, out, _ = call(t, "kill", s.URL(), "--service", "orders")
	if code != 0 || !strings.HasPrefix(out, "5 connections match service orders; none was closed") || !strings.Contains(out, "--yes closes them") {
		t.Errorf("exit %d: %s", code, out)
	}
}

// What matched when it was listed and does not any more is left alone.
func TestKillLooksAgainBeforeItCloses(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	opt, err := respool.ParseURL(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	probe, err := monitor.NewProbe(monitor.ProbeConfig{Options: opt, Purpose: "test"})
	if err != nil {
		t.Fatal(err)
	}
	defer closeClient(probe.Client())
	cart := &crowd{t: t, addr: s.PlainAddr(), name: "cart:1:main"}
	cart.add(2)
	defer cart.close()
	k := &killCmd{clientFilter: clientFilter{Service: "cart"}, Rate: 1000, Max: 10}
	list, err := k.find(t.Context(), probe)
	if err != nil || len(list) != 2 {
		t.Fatalf("%+v, %v", list, err)
	}
	fmt.Fprint(cart.open[0], "CLIENT SETNAME other:1:main\r\n")
	_, _ = cart.open[0].Read(make([]byte, 16))
	var r killReport
	if err := k.close(t.Context(), probe, list, &r); err != nil || r.Closed != 1 || r.Changed != 1 {
		t.Errorf("%+v, %v", r, err)
	}
	if left := s.Do("CLIENT", "LIST"); !strings.Contains(left, "name=other:") || strings.Contains(left, "name=cart:") {
		t.Error(left)
	}
}
