package watch

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/report"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/tooltest"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// watching is a running daemon.
type watching struct {
	*Daemon
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

// watch starts a daemon with a configuration and a free port.
func watch(t *testing.T, config string) *watching {
	t.Helper()
	addr := testkit.ReserveAddr(t)
	w := &watching{file: tooltest.File(t, "respool.yaml", config+"\nlisten: "+addr+"\n"), hup: make(chan os.Signal), base: "http://" + addr, log: &lockedBuffer{}}
	cmd := Flags{Config: w.file}
	s, err := cmd.Read()
	if err != nil {
		t.Fatal(err)
	}
	w.Daemon = NewDaemon(cmd, slog.New(slog.NewTextHandler(w.log, nil)), io.Discard)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx, s, w.hup) }()
	w.stop = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() {
		if err := w.stop(); err != nil {
			t.Error(err)
		}
		http.DefaultClient.CloseIdleConnections()
	})
	return w
}

// get reads a page.
func (w *watching) get(t *testing.T, path string) (code int, body string) {
	t.Helper()
	var answer *http.Response
	testkit.Await(t, "a reply to GET "+path, func() (err error) {
		answer, err = http.Get(w.base + path)
		return err
	}, func(err error) bool { return err == nil })
	raw, err := io.ReadAll(answer.Body)
	answer.Body.Close()
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(raw)
}

func (w *watching) snapshot(t *testing.T) (r report.State) {
	t.Helper()
	code, body := w.get(t, "/api/snapshot")
	if err := json.Unmarshal([]byte(body), &r); err != nil || code != 200 {
		t.Fatalf("%d, %v: %s", code, err, body)
	}
	return r
}

func TestReload(t *testing.T) {
	s := redistest.Start(t, redistest.Config{MaxClients: 20})
	hook, second := tooltest.NewReceiver(t), tooltest.NewReceiver(t)
	full := &tooltest.Crowd{T: t, Addr: s.PlainAddr(), Name: "full:1:main"}
	full.Add(17)
	defer full.Close()
	const text = "url: %s\nevery: %s\nlist_every: 20ms\nrules: {occupancy-critical: {for: 50ms, keep: 50ms}, occupancy-high: %s, new-connections: off, no-reuse: off}\ntell: [{webhook: {url: %q}}]\n"
	w := watch(t, fmt.Sprintf(text, s.URL(), "20ms", "off", hook.URL))
	hook.Until(t, "firing occupancy-critical")
	listen := "listen: " + strings.TrimPrefix(w.base, "http://") + "\n"
	change := func(text, want string) {
		t.Helper()
		n := strings.Count(w.log.String(), want)
		if err := os.WriteFile(w.file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		w.hup <- os.Interrupt
		testkit.Await(t, fmt.Sprintf("%q in the log", want), w.log.String, func(log string) bool { return strings.Count(log, want) != n })
	}
	// A wrong configuration is refused, and the old one stays.
	change("url: redis://x\nevry: 1s\n", "invalid; the old one stays")
	change(fmt.Sprintf(text, s.URL(), "20ms", "off", "ftp://x"), "invalid; the old one stays")
	if r := w.snapshot(t); !r.Nodes[0].Up {
		t.Errorf("%+v", r)
	}
	// The rules change: the sink receives no alert again.
	change(fmt.Sprintf(text, s.URL(), "20ms", "{for: 10ms}", hook.URL)+listen, "configuration is active")
	hook.Until(t, "firing occupancy-high")
	// A new sink receives the firing alerts. The sink that stays receives none.
	third := tooltest.NewReceiver(t)
	both := fmt.Sprintf(text, s.URL(), "20ms", "{for: 10ms}", hook.URL) + listen
	change(strings.Replace(both, "tell: [", fmt.Sprintf("tell: [{webhook: {url: %q}}, ", third.URL), 1), "configuration is active")
	third.Until(t, "firing occupancy-critical")
	third.Until(t, "firing occupancy-high")
	// A sink that replaces another receives the firing alerts. Another period restarts the sampler.
	change(fmt.Sprintf(text, s.URL(), "30ms", "{for: 10ms, keep: 10ms}", second.URL)+listen, "configuration is active")
	second.Until(t, "firing occupancy-critical")
	second.Until(t, "firing occupancy-high")
	full.Close()
	second.Until(t, "resolved occupancy-critical")
	second.Until(t, "resolved occupancy-high")
	if got := hook.Told(); !slices.Equal(got, []string{"firing occupancy-critical", "firing occupancy-high"}) {
		t.Errorf("%q", got)
	}
	if n := len(second.Told()); n != 4 {
		t.Errorf("%q", second.Told())
	}
	if err := w.stop(); err != nil {
		t.Error(err)
	}
	s.WaitClients(t, 0, 30*time.Second)
}

func TestWatchShowsWhatHappensToTheServer(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	hook := tooltest.NewReceiver(t)
	w := watch(t, fmt.Sprintf("url: %s\nevery: 20ms\nlist_every: 20ms\nrules: {down: {for: 100ms, keep: 100ms}}\ntell: [{webhook: {url: %q}}]\n", s.URL(), hook.URL))
	testkit.Await(t, "one node that is up", func() report.State { return w.snapshot(t) },
		func(r report.State) bool { return len(r.Nodes) == 1 && r.Nodes[0].Up })
	s.Kill()
	hook.Until(t, "firing down")
	if r := w.snapshot(t); r.Nodes[0].Up || r.Nodes[0].Error == "" {
		t.Errorf("%+v", r)
	}
	if code, body := w.get(t, "/healthz"); code != 200 || !strings.Contains(body, `"nodes_up": 0`) {
		t.Errorf("%d %s", code, body)
	}
	s.Restart()
	hook.Until(t, "resolved down")
	if r := w.snapshot(t); !r.Nodes[0].Up || r.Nodes[0].Restarts != 1 {
		t.Errorf("%+v", r)
	}
	if got := hook.Told(); !slices.Equal(got, []string{"firing down", "resolved down"}) {
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

// A server that refuses INFO may be full: nothing shows it as empty or fine.
func TestAWatchThatSeesNothingSaysSo(t *testing.T) {
	s := redistest.Start(t, redistest.Config{Users: []string{"nosy on >sesame ~* +@all -info -client +client|setname +client|tracking"}})
	hook := tooltest.NewReceiver(t)
	w := watch(t, fmt.Sprintf("url: redis://nosy:sesame@%s\nevery: 50ms\nlist_every: 50ms\nrules: {blind: {for: 10ms, keep: 10ms}, partly-blind: {for: 10ms, keep: 10ms}}\ntell: [log, {webhook: {url: %q}}]\n", s.Addr(), hook.URL))
	hook.Until(t, "firing blind")
	hook.Until(t, "firing partly-blind")
	testkit.Eventually(t, "an error in the log", func() bool {
		return strings.Contains(w.log.String(), "level=ERROR") && strings.Contains(w.log.String(), "cannot be judged: INFO is refused")
	})
	if code, body := w.get(t, "/readyz"); code != 503 || !strings.Contains(body, `"status": "blind"`) || !strings.Contains(body, "ACL SETUSER nosy +info") {
		t.Errorf("/readyz: %d %s", code, body)
	}
	if r := w.snapshot(t); !r.Nodes[0].Up || r.Nodes[0].Connections != nil {
		t.Errorf("%+v: want no number of connections", r.Nodes[0])
	}
	if _, metrics := w.get(t, "/metrics"); strings.Contains(metrics, "respool_server_connections{") || !strings.Contains(metrics, "respool_server_up{") {
		t.Errorf("want no number of connections in\n%s", metrics)
	}
	s.Do("ACL", "SETUSER", "nosy", "+info", "+client|list")
	hook.Until(t, "resolved blind")
	if code, body := w.get(t, "/readyz"); code != 200 {
		t.Errorf("/readyz: %d %s", code, body)
	}
}

// A sink that a reload removes sends its alerts while the watch goes on. The watch stops meanwhile, and waits only for that.
func TestAStopDoesNotWaitForAReload(t *testing.T) {
	s := redistest.Start(t, redistest.Config{MaxClients: 20})
	full := &tooltest.Crowd{T: t, Addr: s.PlainAddr(), Name: "full:1:main"}
	full.Add(17)
	defer full.Close()
	came, stopping, sent := make(chan struct{}, 1), make(chan struct{}), make(chan error, 1)
	release := sync.OnceFunc(func() { close(stopping) })
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // or the server does not see the end of the connection
		select {
		case came <- struct{}{}:
		default: // a later alert
		}
		<-stopping
		select {
		case sent <- r.Context().Err():
		default:
		}
	}))
	defer hook.Close()
	defer release()
	w := watch(t, fmt.Sprintf("url: %s\nevery: 20ms\nlist_every: 20ms\nrules: {occupancy-critical: {for: 50ms}, occupancy-high: off, new-connections: off, no-reuse: off}\ntell: [{webhook: {url: %q}}]\n", s.URL(), hook.URL))
	<-came
	tooltest.Rewrite(t, w.file, "tell: [{webhook", "tell: [log] #")
	w.hup <- os.Interrupt
	testkit.Eventually(t, "the reload is over", func() bool { return strings.Contains(w.log.String(), "configuration is active") })
	ended := make(chan struct{})
	go func() {
		_ = w.stop() // checked below
		close(ended)
	}()
	testkit.Eventually(t, "the watch stops", func() bool { return strings.Contains(w.log.String(), "msg=stopping") })
	select {
	case <-ended:
		t.Error("the watch has ended before its alert was sent")
	default:
	}
	release()
	if err := <-sent; err != nil {
		t.Errorf("the alert was given up before the watch stopped: %v", err)
	}
	if err := w.stop(); err != nil {
		t.Error(err)
	}
}
