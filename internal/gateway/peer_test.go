package gateway_test

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/gateway"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
	"github.com/seed-2b0d76a6/respool/resp"
)

// patience bounds a wait for an event. Only a failing test waits so long.
const patience = time.Minute

// testGateway is a gateway with its server.
type testGateway struct {
	*gateway.Gateway
	t      testing.TB
	client *respool.Client
	served chan error
	addr   string
}

// open starts a gateway for the server at url, and listens on TCP.
func open(t testing.TB, url string, cfg gateway.Config) *testGateway {
	t.Helper()
	opt, err := respool.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	c, err := respool.New(opt)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Loops = cmp.Or(cfg.Loops, *loops)
	g, err := gateway.New(c.Engine(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	h := &testGateway{Gateway: g, t: t, client: c, served: make(chan error, 8)}
	h.addr = h.listen("tcp", "127.0.0.1:0", nil)
	t.Cleanup(h.close)
	return h
}

// listen serves at another address and returns it.
func (h *testGateway) listen(network, addr string, cfg *tls.Config) string {
	l, err := net.Listen(network, addr)
	if err != nil {
		h.t.Fatal(err)
	}
	at := l.Addr().String()
	if cfg != nil {
		l = tls.NewListener(l, cfg)
	}
	go func() { h.served <- h.Serve(l) }()
	return at
}

// listenTLS listens with the certificate of the test servers.
func (h *testGateway) listenTLS(s *redistest.Server) (at string) {
	h.t.Helper()
	cert, err := tls.LoadX509KeyPair(s.CertFile(), s.KeyFile())
	if err != nil {
		h.t.Fatal(err)
	}
	return h.listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}})
}

func (h *testGateway) close() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := h.Shutdown(ctx); err != nil {
		h.t.Errorf("shutdown: %v", err)
	}
	if err := h.client.Close(ctx); err != nil {
		h.t.Errorf("close: %v", err)
	}
}

// peer is a client of the gateway. Each write and each frame has patience, unless a test sets a deadline itself.
type peer struct {
	net.Conn
	t       testing.TB
	in      *bufio.Reader
	limited bool // the test sets the deadlines
}

func (p *peer) SetDeadline(at time.Time) error {
	p.limited = true
	return p.Conn.SetDeadline(at)
}

func (p *peer) SetReadDeadline(at time.Time) error {
	p.limited = true
	return p.Conn.SetReadDeadline(at)
}

func (p *peer) SetWriteDeadline(at time.Time) error {
	p.limited = true
	return p.Conn.SetWriteDeadline(at)
}

// extend begins the time limit of one operation.
func (p *peer) extend() {
	if !p.limited {
		_ = p.Conn.SetDeadline(time.Now().Add(patience))
	}
}

func (h *testGateway) dial() *peer {
	h.t.Helper()
	return h.dialTo("tcp", h.addr, nil)
}

func (h *testGateway) dialTo(network, addr string, cfg *tls.Config) *peer {
	h.t.Helper()
	conn, err := net.DialTimeout(network, addr, patience)
	if err != nil {
		h.t.Fatal(err)
	}
	if cfg != nil {
		conn = tls.Client(conn, cfg)
	}
	return newPeer(h.t, conn)
}

func newPeer(t testing.TB, conn net.Conn) *peer {
	p := &peer{Conn: conn, t: t, in: bufio.NewReader(conn)}
	p.extend()
	t.Cleanup(func() { conn.Close() })
	return p
}

// send writes commands, one per line.
func (p *peer) send(lines ...string) {
	p.t.Helper()
	var out []byte
	for _, line := range lines {
		words := strings.Fields(line)
		out = resp.AppendArrayHeader(out, len(words))
		for _, w := range words {
			out = resp.AppendBulkString(out, w)
		}
	}
	p.write(string(out))
}

func (p *peer) write(raw string) {
	p.t.Helper()
	p.extend()
	if _, err := io.WriteString(p.Conn, raw); err != nil {
		p.t.Fatal(err)
	}
}

// frame reads one frame.
func (p *peer) frame() string {
	p.t.Helper()
	text, err := p.tryFrame()
	if err != nil {
		p.t.Fatalf("no frame: %v (%q came)", err, text)
	}
	return text
}

func (p *peer) tryFrame() (string, error) {
	p.extend()
	var s resp.Scanner
	var b bytes.Buffer
	for {
		c, err := p.in.ReadByte()
		if err != nil {
			return b.String(), err
		}
		b.WriteByte(c)
		if _, done, err := s.Scan([]byte{c}); err != nil || done {
			return b.String(), err
		}
	}
}

// want reads frames and compares them. It writes | for the end of a line.
func (p *peer) want(frames ...string) {
	p.t.Helper()
	for i, want := range frames {
		if got := strings.ReplaceAll(p.frame(), "\r\n", "|"); got != want {
			p.t.Fatalf("frame %d is %q: want %q", i, got, want)
		}
	}
}

// ask sends a command and returns its reply.
func (p *peer) ask(line string) string {
	p.t.Helper()
	p.send(line)
	return strings.ReplaceAll(p.frame(), "\r\n", "|")
}

// ends waits for the end of the connection.
func (p *peer) ends() {
	p.t.Helper()
	for {
		text, err := p.tryFrame()
		if err == nil {
			p.t.Fatalf("%q came: want the end", text)
		}
		if errors.Is(err, io.EOF) || !isDeadline(err) {
			return
		}
		p.t.Fatalf("no end: %v", err)
	}
}

func isDeadline(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

// connKinds are the kinds of connections that a gateway serves.
var connKinds = []string{"tcp", "unix", "tls", "memory"}

// onEach runs a test with each kind of connection.
func onEach(t *testing.T, cfg gateway.Config, test func(t *testing.T, h *testGateway, dial func() *peer)) {
	s := redistest.Start(t, redistest.Config{TLS: true})
	onEachBefore(t, s, s.PlainAddr(), cfg, test)
}

// onEachBlocking is onEach for both ways of blocking commands to wait.
func onEachBlocking(t *testing.T, cfg gateway.Config, test func(t *testing.T, h *testGateway, dial func() *peer)) {
	s := redistest.Start(t, redistest.Config{TLS: true})
	for _, blocking := range []string{"shared", "dedicated"} {
		t.Run(blocking, func(t *testing.T) {
			onEachAt(t, s, "redis://"+s.PlainAddr()+"?max_connections=4&blocking="+blocking, cfg, test)
		})
	}
}

// onEachBefore is onEach for a gateway that connects to s through addr.
func onEachBefore(t *testing.T, s *redistest.Server, addr string, cfg gateway.Config, test func(t *testing.T, h *testGateway, dial func() *peer)) {
	onEachAt(t, s, "redis://"+addr+"?max_connections=4", cfg, test)
}

// onEachAt is onEach for a gateway that connects to s by url.
func onEachAt(t *testing.T, s *redistest.Server, url string, cfg gateway.Config, test func(t *testing.T, h *testGateway, dial func() *peer)) {
	for _, way := range connKinds {
		t.Run(way, func(t *testing.T) {
			s.Do("FLUSHALL")
			h := open(t, url, cfg)
			dial := h.dial
			switch way {
			case "unix":
				path := h.listen("unix", filepath.Join(t.TempDir(), "gw"), nil)
				dial = func() *peer { return h.dialTo("unix", path, nil) }
			case "tls":
				at := h.listenTLS(s)
				dial = func() *peer { return h.dialTo("tcp", at, s.TLSConfig()) }
			case "memory":
				dial = func() *peer {
					conn, err := h.DialContext(context.Background())
					if err != nil {
						t.Fatal(err)
					}
					return newPeer(t, conn)
				}
			}
			test(t, h, dial)
		})
	}
}

func bulk(s string) string { return fmt.Sprintf("$%d|%s|", len(s), s) }
