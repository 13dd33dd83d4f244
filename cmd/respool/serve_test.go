package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed-2b0d76a6/respool/internal/gateway"
	"github.com/seed-2b0d76a6/respool/internal/redistest"
)

// patience is how long a test waits for what has to come.
const patience = 30 * time.Second

// told is a text that grows, for which a test can wait.
type told struct {
	mu   sync.Mutex
	b    bytes.Buffer
	more chan struct{} // closed and replaced with each write
}

func newTold() *told { return &told{more: make(chan struct{})} }

func (w *told) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	close(w.more)
	w.more = make(chan struct{})
	return w.b.Write(p)
}

func (w *told) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.String()
}

// until waits until a pattern was told n times, and gives what its group held last.
func (w *told) until(t *testing.T, pattern string, n int) string {
	t.Helper()
	re := regexp.MustCompile(pattern)
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for {
		w.mu.Lock()
		found, more := re.FindAllStringSubmatch(w.b.String(), -1), w.more
		w.mu.Unlock()
		if len(found) >= n {
			return found[n-1][len(found[n-1])-1]
		}
		select {
		case <-more:
		case <-limit.C:
			t.Fatalf("%q was told %d times: want %d:\n%s", pattern, len(found), n, w)
		}
	}
}

// running is a gateway that serves.
type running struct {
	*serving
	log, out  *told
	hup, stop chan os.Signal
	ended     func() error // waits for its end
	fails     bool         // it is to end with an error
}

// served starts a gateway, whose pages are at a free port.
func served(t *testing.T, cmd *serveCmd) *running {
	t.Helper()
	if cmd.HTTP == "" {
		cmd.HTTP = "127.0.0.1:0"
	}
	passed := &passedOnes{}
	s, err := cmd.read(passed)
	if err != nil {
		t.Fatal(err)
	}
	r := &running{log: newTold(), out: newTold(), hup: make(chan os.Signal), stop: make(chan os.Signal, 2)}
	r.serving = &serving{cmd: cmd, log: slog.New(slog.NewTextHandler(r.log, nil)), out: r.out, passed: passed}
	done := make(chan error, 1)
	go func() { done <- r.run(s, r.hup, r.stop) }()
	r.ended = sync.OnceValue(func() error { return <-done })
	t.Cleanup(func() {
		select {
		case r.stop <- os.Interrupt:
		default: // it was told twice
		}
		if err := r.ended(); (err != nil) != r.fails {
			t.Error(err)
		}
		http.DefaultClient.CloseIdleConnections()
	})
	r.out.until(t, "try: ", 1)
	return r
}

// at is where the n-th listener that was opened listens.
func (r *running) at(t *testing.T, n int) string {
	t.Helper()
	return r.log.until(t, `msg=serving at=(\S+)`, n)
}

// page asks a page, and waits for a code if that is not 0.
func (r *running) page(t *testing.T, path string, code int) string {
	t.Helper()
	base := r.log.until(t, `msg=pages at=(\S+)/`, 1)
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		answer, err := http.Get(base + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if answer.StatusCode == code {
			return string(body)
		}
		if time.Now().After(end) {
			t.Fatalf("%s: %s: %s", path, answer.Status, body)
		}
	}
}

// reload has the configuration read again, and waits for what is said of it.
func (r *running) reload(t *testing.T, want string) {
	t.Helper()
	n := strings.Count(r.log.String(), want)
	r.hup <- syscall.SIGHUP
	r.log.until(t, regexp.QuoteMeta(want), n+1)
}

// redisClient is a plain client.
type redisClient struct {
	t *testing.T
	net.Conn
	r *bufio.Reader
}

func talkTo(t *testing.T, network, addr string) *redisClient {
	t.Helper()
	conn, err := net.Dial(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	return talkOver(t, conn)
}

func talkOver(t *testing.T, conn net.Conn) *redisClient {
	t.Helper()
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return &redisClient{t, conn, bufio.NewReader(conn)}
}

// do sends a command, and wants a reply of one line or one string.
func (c *redisClient) do(want string, args ...string) {
	c.t.Helper()
	c.send(args...)
	line, err := c.r.ReadString('\n')
	if strings.HasPrefix(line, "$") && line != "$-1\r\n" {
		line, err = c.r.ReadString('\n')
	}
	if got := strings.TrimSpace(line); err != nil || !strings.HasPrefix(got, want) {
		c.t.Fatalf("%q: %q, %v: want %q", args, got, err, want)
	}
}

func (c *redisClient) send(args ...string) {
	c.t.Helper()
	fmt.Fprintf(c, "*%d\r\n", len(args))
	for _, a := range args {
		fmt.Fprintf(c, "$%d\r\n%s\r\n", len(a), a)
	}
}

func TestServeOnTheEmbeddedServer(t *testing.T) {
	r := served(t, &serveCmd{Listen: []string{"127.0.0.1:0"}})
	c := talkTo(t, "tcp", r.at(t, 1))
	c.do("+PONG", "PING")
	c.do("+OK", "SET", "k", "v")
	c.do("v", "GET", "k")
	r.page(t, "/readyz", 200)
	r.page(t, "/healthz", 200)
	r.page(t, "/api/alerts", 200)
	if text := r.page(t, "/metrics", 200); !strings.Contains(text, "respool_gateway_clients 1\n") || !strings.Contains(text, `db_client_connection_max{db_client_connection_pool_name="gateway"`) {
		t.Error(text)
	}
	if text := r.out.String(); !strings.Contains(text, "from an embedded server, over 16 connections at most, and one more that watches\n") || !strings.Contains(text, "try: redis-cli -p "+port(r.at(t, 1))) {
		t.Error(text)
	}
	r.stop <- os.Interrupt
	if err := r.ended(); err != nil {
		t.Error(err)
	}
	if _, err := c.r.ReadByte(); err == nil {
		t.Error("the client was not closed")
	}
	if conn, err := net.Dial("tcp", r.at(t, 1)); err == nil {
		conn.Close()
		t.Error("it listens still")
	}
}

func port(addr string) string {
	_, p, _ := net.SplitHostPort(addr)
	return p
}

func TestServeARealServer(t *testing.T) {
	s := redistest.Start(t, redistest.Config{Password: "sesame"})
	url := written(t, "url", s.URL()+"?max_connections=3\n")
	r := served(t, &serveCmd{Listen: []string{"127.0.0.1:0"}, URLFile: url})
	for i := range 20 {
		c := talkTo(t, "tcp", r.at(t, 1))
		key := fmt.Sprint("k", i)
		c.do("+OK", "SET", key, "v")
		c.do("v", "GET", key)
	}
	if list := s.Do("CLIENT", "LIST"); strings.Count(list, "name=gateway:") > 3 || !strings.Contains(list, "name=gateway:") {
		t.Error(list)
	}
	if all := r.out.String() + r.log.String(); strings.Contains(all, "sesame") || !strings.Contains(all, "over 3 connections at most") {
		t.Error(all)
	}
	r.stop <- os.Interrupt
	if err := r.ended(); err != nil {
		t.Error(err)
	}
	s.WaitClients(t, 0, patience)
}

// redis-cli asks for COMMAND DOCS at its start, and ends where the reply is another one.
func TestTheEmbeddedServerIsOneForRedisCLI(t *testing.T) {
	r := served(t, &serveCmd{Listen: []string{"127.0.0.1:0"}})
	c := talkTo(t, "tcp", r.at(t, 1))
	c.do("-ERR unknown subcommand 'DOCS'. Try COMMAND HELP.", "COMMAND", "DOCS")
	c.do("# Server", "INFO", "server")
	c = talkTo(t, "tcp", r.at(t, 1))
	c.do("*200", "COMMAND")
	if hello := r.hello(t); !strings.Contains(hello, "\r\nversion\r\n$5\r\n"+embeddedVersion+"\r\n") {
		t.Errorf("%q", hello)
	}
}

// hello is the reply to HELLO of a client that says nothing more.
func (r *running) hello(t *testing.T) string {
	t.Helper()
	c := talkTo(t, "tcp", r.at(t, 1))
	c.send("HELLO")
	c.send("QUIT")
	text, err := io.ReadAll(c.r)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// It is ready while Redis answers, and alive all the time.
func TestReadyFollowsTheServer(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	r := served(t, &serveCmd{Listen: []string{"127.0.0.1:0"}, URL: s.URL()})
	r.page(t, "/readyz", 200)
	s.Kill()
	if body := r.page(t, "/readyz", 503); !strings.Contains(body, `"status": "waiting"`) || !strings.Contains(body, "refused") {
		t.Error(body)
	}
	r.page(t, "/healthz", 200)
	s.Restart()
	r.page(t, "/readyz", 200)
	r.log.until(t, "the server does not answer", 1)
	r.log.until(t, "the server answers", 2)
}

// What a client waits for may last; it does not hold up an end for longer than it may.
func TestAnEndWaitsForClientsWithinBounds(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	for name, twice := range map[string]bool{"a short drain": false, "a second signal": true} {
		t.Run(name, func(t *testing.T) {
			drain := 100 * time.Millisecond
			if twice {
				drain = 24 * time.Hour
			}
			r := served(t, &serveCmd{Listen: []string{"127.0.0.1:0"}, URL: s.URL(), Drain: &drain})
			c := talkTo(t, "tcp", r.at(t, 1))
			c.send("BLPOP", "nothing", "0")
			for end := time.Now().Add(patience); !strings.Contains(s.Do("INFO", "clients"), "blocked_clients:1"); time.Sleep(time.Millisecond) {
				if time.Now().After(end) {
					t.Fatal("nobody is blocked")
				}
			}
			r.stop <- syscall.SIGTERM
			r.log.until(t, "msg=stopping", 1)
			if twice {
				r.stop <- syscall.SIGTERM
			}
			if err := r.ended(); err != nil {
				t.Error(err)
			}
			s.WaitClients(t, 0, patience)
		})
	}
}

// A gateway that nobody can reach is no gateway: whoever started it has to know.
func TestServeEndsWhenAListenerFails(t *testing.T) {
	r := served(t, &serveCmd{Listen: []string{"127.0.0.1:0"}})
	r.fails = true
	r.doors["127.0.0.1:0"].inner.Close()
	if err := r.ended(); err == nil || !strings.HasPrefix(err.Error(), "--listen 127.0.0.1:0: the gateway stopped to listen: ") {
		t.Error(err)
	}
}

func TestServeThatCanNotListenLeavesNothing(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	taken := l.Addr().String()
	for args, want := range map[string]string{
		"--listen 127.0.0.1:0 --listen " + taken + " --http off": "--listen " + taken + ": listen tcp " + taken + ": bind: address already in use",
		"--listen 127.0.0.1:0 --http " + taken:                   "the pages: listen tcp " + taken + ": bind: address already in use",
	} {
		code, _, errs := call(t, append([]string{"serve"}, strings.Fields(args)...)...)
		if code != 2 || !strings.Contains(errs, want) {
			t.Errorf("%s: exit %d: %s", args, code, errs)
		}
	}
}

// docs/metrics.md lists what a gateway shows, all of it and nothing else.
func TestDocsListTheGatewaysMetrics(t *testing.T) {
	text, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `(respool_gateway_\\w+)` \\|").FindAllSubmatch(text, -1) {
		listed[string(m[1])] = true
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(&gatewayMetrics{
		stats: func() gateway.Stats { return gateway.Stats{PinnedBy: map[string]int{"WATCH": 1}} },
		ready: func() readyReport { return readyReport{Status: "ok"} },
	})
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if !listed[f.GetName()] {
			t.Errorf("%s is shown and not listed", f.GetName())
		}
		delete(listed, f.GetName())
	}
	for name := range listed {
		t.Errorf("%s is listed and not shown", name)
	}
}

func TestPassword(t *testing.T) {
	for in, want := range map[string]string{"password": hashOfPassword, "secret\n": hashOfSecret, "secret\r\nmore\n": hashOfSecret} {
		code, out, errs := typed(t, in, "password")
		if code != 0 || strings.TrimSpace(out) != want || errs != "" {
			t.Errorf("%q: exit %d: %s%s", in, code, out, errs)
		}
	}
	for in, want := range map[string]string{"": "an empty password", "\n": "an empty password", strings.Repeat("x", mostPassword+1): "more than 65536 bytes"} {
		code, out, errs := typed(t, in, "password")
		if code != 2 || !strings.Contains(errs, want) || out != "" {
			t.Errorf("exit %d: %s%s: want %q", code, out, errs, want)
		}
	}
}

// typed runs the tool with something on its standard input.
func typed(t *testing.T, in string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	f, err := os.Open(written(t, "in", in))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	old := os.Stdin
	defer func() { os.Stdin = old }()
	os.Stdin = f
	return call(t, args...)
}
