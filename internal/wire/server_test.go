package wire_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/fakeserver"
	"github.com/seed-2b0d76a6/respool/internal/wire"
)

var background = context.Background()

// patience bounds a wait for what must happen; only a failing test waits so long.
const patience = time.Minute

// server serves one connection after the other by a script.
type server struct {
	*fakeserver.Server
	network string
	turn    sync.Mutex
	ended   chan struct{} // one for each connection that has ended
}

type peer = fakeserver.Conn

// serve listens; script runs for each connection.
func serve(t *testing.T, script func(c *peer)) *server {
	return serveWith(t, fakeserver.Config{Script: script})
}

func serveTLS(t *testing.T, script func(c *peer)) *server {
	return serveWith(t, fakeserver.Config{Script: script, TLS: testkit.ServerTLS(t)})
}

func serveWith(t *testing.T, cfg fakeserver.Config) *server {
	t.Helper()
	s := &server{network: "tcp", ended: make(chan struct{}, 1000)}
	if cfg.Unix != "" {
		s.network = "unix"
	}
	script := cfg.Script
	cfg.Script = func(c *peer) {
		s.turn.Lock() // until Closed
		script(c)
	}
	cfg.Closed = func(*peer) {
		s.turn.Unlock()
		s.ended <- struct{}{}
	}
	s.Server = fakeserver.Start(t, cfg)
	return s
}

// config reaches the server.
func (s *server) config() *wire.Config {
	return &wire.Config{
		Network: s.network, Addr: s.Addr(),
		ConnectTimeout: patience, LingerLimit: patience,
	}
}

// skip reads n commands.
func skip(c *peer, n int) {
	for range n {
		_, _ = c.Command()
	}
}

const helloReply = "%2\r\n+server\r\n+redis\r\n+version\r\n$5\r\n7.2.4\r\n"

// greet replies to a handshake of HELLO and PING.
func greet(c *peer) {
	skip(c, 2)
	c.Write(helloReply + "+PONG\r\n")
}

// redis replies to a command by its first word, with +OK if replies lacks it.
func redis(replies map[string]string) func(*peer) {
	return func(c *peer) {
		for {
			args, err := c.Command()
			if err != nil {
				return
			}
			reply, ok := replies[args[0]]
			switch {
			case ok:
			case args[0] == "HELLO":
				reply = helloReply
			case args[0] == "PING":
				reply = "+PONG\r\n"
			default:
				reply = "+OK\r\n"
			}
			c.Write(reply)
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
