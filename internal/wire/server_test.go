package wire_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/wire"
)

var background = context.Background()

// patience bounds a wait for what must happen; only a failing test waits so long.
const patience = time.Minute

// server takes connections one after the other and speaks by script.
type server struct {
	t     *testing.T
	ln    net.Listener
	done  chan struct{} // Accept has ended
	mu    sync.Mutex
	got   []string      // commands, their arguments joined by spaces
	ended chan struct{} // one for each connection whose end was seen
}

// serve listens; script runs for each connection.
func serve(t *testing.T, script func(c *peer)) *server {
	return serveOn(t, "tcp", "127.0.0.1:0", script)
}

func serveOn(t *testing.T, network, addr string, script func(c *peer)) *server {
	t.Helper()
	ln, err := net.Listen(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, ln: ln, done: make(chan struct{}), ended: make(chan struct{}, 1000)}
	go func() {
		defer close(s.done)
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			script(&peer{Conn: nc, s: s, in: bufio.NewReader(nc)})
			_ = nc.Close()
			s.ended <- struct{}{}
		}
	}()
	t.Cleanup(func() {
		_ = ln.Close()
		await(t, "the server's end", s.done)
	})
	return s
}

// config reaches the server.
func (s *server) config() *wire.Config {
	return &wire.Config{
		Network: s.ln.Addr().Network(), Addr: s.ln.Addr().String(),
		ConnectTimeout: patience, LingerLimit: patience,
	}
}

func (s *server) commands() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.got...)
}

// peer is one connection as the server sees it.
type peer struct {
	net.Conn
	s  *server
	in *bufio.Reader
}

// command reads one command; false at the end.
func (p *peer) command() (string, bool) {
	n, ok := p.header('*')
	if !ok {
		return "", false
	}
	args := make([]string, n)
	for i := range args {
		size, ok := p.header('$')
		if !ok {
			return "", false
		}
		b := make([]byte, size+2)
		if _, err := io.ReadFull(p.in, b); err != nil {
			return "", false
		}
		args[i] = string(b[:size])
	}
	c := strings.Join(args, " ")
	p.s.mu.Lock()
	p.s.got = append(p.s.got, c)
	p.s.mu.Unlock()
	return c, true
}

func (p *peer) header(kind byte) (int, bool) {
	line, err := p.in.ReadString('\n')
	if err != nil || len(line) < 4 || line[0] != kind {
		return 0, false
	}
	n, err := strconv.Atoi(line[1 : len(line)-2])
	return n, err == nil
}

func (p *peer) send(s string) { _, _ = io.WriteString(p.Conn, s) }

// reset ends the connection with an RST.
func (p *peer) reset() {
	_ = p.Conn.(*net.TCPConn).SetLinger(0)
	_ = p.Conn.Close()
}

// drop reads to the client's end.
func (p *peer) drop() { _, _ = io.Copy(io.Discard, p.in) }

const helloReply = "%2\r\n+server\r\n+redis\r\n+version\r\n$5\r\n7.2.4\r\n"

// redis answers by the first word of a command: what replies lacks is +OK.
func redis(replies map[string]string) func(*peer) {
	return func(p *peer) {
		for {
			c, ok := p.command()
			if !ok {
				return
			}
			name, _, _ := strings.Cut(c, " ")
			reply, ok := replies[name]
			switch {
			case ok:
			case name == "HELLO":
				reply = helloReply
			case name == "PING":
				reply = "+PONG\r\n"
			default:
				reply = "+OK\r\n"
			}
			p.send(reply)
		}
	}
}

func await[T any](t *testing.T, what string, ch <-chan T) (v T) {
	t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case v = <-ch:
	case <-timer.C:
		t.Fatalf("waited in vain for %s", what)
	}
	return v
}

func dial(t *testing.T, cfg *wire.Config) *wire.Conn {
	t.Helper()
	c, err := wire.Dial(background, background, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Linger(patience) })
	return c
}

// refused dials in vain and gives the error.
func refused(t *testing.T, cfg *wire.Config) error {
	t.Helper()
	c, err := wire.Dial(background, background, cfg)
	if err == nil {
		c.Abort()
		t.Fatal("got a connection")
	}
	return err
}

func wantText(t *testing.T, err error, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("%q lacks %q", err, p)
		}
	}
	if strings.Contains(err.Error(), secret) {
		t.Errorf("%q holds the password", err)
	}
}

const secret = "pa55-word"

// serverTLS has a certificate of its own making.
var serverTLS = func() *tls.Config {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	cert := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}()

// overTLS runs script behind a TLS handshake.
func overTLS(script func(*peer)) func(*peer) {
	return func(p *peer) {
		tc := tls.Server(p.Conn, serverTLS)
		script(&peer{Conn: tc, s: p.s, in: bufio.NewReader(tc)})
		_ = tc.Close()
	}
}
