package wire_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/fakeserver"
	"github.com/seed-2b0d76a6/respool/internal/wire"
)

func TestNobodyListens(t *testing.T) {
	addr := testkit.ReserveAddr(t)
	err := refused(t, &wire.Config{Network: "tcp", Addr: addr})
	var we *wire.Error
	if !errors.As(err, &we) || we.Op != "dial" || we.Addr != addr || we.Sent || we.Timeout() {
		t.Errorf("got %v", err)
	}
}

func TestTheConnectTimeoutBoundsEachPhase(t *testing.T) {
	silent := func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }
	phases := map[string]struct {
		op    string
		tls   *tls.Config
		serve func(net.Conn) // nil: the dial itself hangs
	}{
		"dial":         {"dial", nil, nil},
		"TLS":          {"TLS handshake with", &tls.Config{InsecureSkipVerify: true}, silent},
		"handshake":    {"handshake with", nil, silent},
		"half a reply": {"handshake with", nil, func(c net.Conn) { go silent(c); _, _ = io.WriteString(c, "%7\r\n+ver") }},
	}
	for name, x := range phases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg := &wire.Config{Addr: "pipe", TLS: x.tls, ConnectTimeout: 3 * time.Second}
				cfg.DialFunc = func(ctx context.Context, _, _ string) (net.Conn, error) {
					if x.serve == nil {
						<-ctx.Done()
						return nil, ctx.Err()
					}
					ours, theirs := net.Pipe()
					go x.serve(theirs)
					return ours, nil
				}
				begin := time.Now()
				err := refused(t, cfg)
				if d := time.Since(begin); d != 3*time.Second {
					t.Errorf("took %v", d)
				}
				wantText(t, err, "no connection within the connect timeout of 3s")
				var we *wire.Error
				if !errors.As(err, &we) || we.Op != x.op || !we.Timeout() || !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("got %#v", err)
				}
			})
		})
	}
}

// A dial that is cancelled leaves nothing behind: the server has seen its end
// when Dial returns.
func TestACancelledDialLeavesNothingBehind(t *testing.T) {
	phases := map[string]struct {
		serve  func(*testing.T, func(*peer)) *server
		tls    bool
		script func(p *peer, reached func())
	}{
		"TLS":       {serve, true, func(p *peer, reached func()) { p.Next(); reached(); p.Discard() }},
		"handshake": {serve, false, func(p *peer, reached func()) { skip(p, 1); reached(); p.Discard() }},
		"second exchange": {serve, false, func(p *peer, reached func()) {
			skip(p, 2)
			p.Write(unknownHello + "+PONG\r\n")
			skip(p, 1)
			reached()
			p.Discard()
		}},
		"handshake over TLS": {serveTLS, true, func(p *peer, reached func()) { skip(p, 1); reached(); p.Discard() }},
	}
	for name, x := range phases {
		t.Run(name, func(t *testing.T) {
			for range 20 {
				ctx, cancel := context.WithCancel(background)
				last := make(chan struct{})
				s := x.serve(t, func(p *peer) {
					x.script(p, cancel)
					close(last)
				})
				cfg := s.config()
				if x.tls {
					cfg.TLS = &tls.Config{InsecureSkipVerify: true}
				}
				_, err := wire.Dial(ctx, background, cfg)
				if !errors.Is(err, context.Canceled) {
					t.Fatalf("got %v", err)
				}
				select {
				case <-last:
				default:
					// The server's goroutine may be a step behind its socket, but
					// what it waits for has come.
					await(t, "the server's end", last)
				}
				await(t, "the connection's end", s.ended)
			}
		})
	}
}

// What a dial leaves is closed by half: the server's own close is waited for.
func TestAFailedDialWaitsForTheServersEnd(t *testing.T) {
	for _, withTLS := range []bool{false, true} {
		begun, proceed, saw := make(chan struct{}), make(chan struct{}), make(chan struct{})
		s := serve(t, func(p *peer) {
			p.Next()
			close(begun)
			p.Discard()
			close(saw)
			<-proceed
		})
		cfg := s.config()
		if withTLS {
			cfg.TLS = &tls.Config{InsecureSkipVerify: true}
		}
		ctx, cancel := context.WithCancel(background)
		failed := make(chan error, 1)
		go func() {
			_, err := wire.Dial(ctx, background, cfg)
			failed <- err
		}()
		await(t, "the first bytes", begun)
		cancel()
		await(t, "the half-close", saw)
		select {
		case err := <-failed:
			t.Errorf("the dial ended before the server did: %v", err)
		default:
		}
		close(proceed)
		if err := await(t, "the dial", failed); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	}
}

func TestCutEndsTheLingeringOfAFailedDial(t *testing.T) {
	proceed := make(chan struct{})
	saw := make(chan struct{})
	s := serve(t, func(p *peer) {
		p.Write("HTTP/1.1 400 Bad Request\r\n")
		p.Discard()
		close(saw)
		<-proceed
	})
	cut, cancel := context.WithCancel(background)
	failed := make(chan error, 1)
	go func() {
		_, err := wire.Dial(background, cut, s.config())
		failed <- err
	}()
	await(t, "the half-close", saw)
	cancel()
	wantText(t, await(t, "the dial", failed), "not a Redis server")
	close(proceed)
}

// The end of ctx at any moment gives a connection that works, or none.
func TestADialCancelledAtAnyMoment(t *testing.T) {
	for _, withTLS := range []bool{false, true} {
		start := serve
		if withTLS {
			start = serveTLS
		}
		cfg := start(t, redis(nil)).config()
		if withTLS {
			cfg.TLS = &tls.Config{InsecureSkipVerify: true}
		}
		ends := 0
		for i := range 200 {
			ctx, cancel := context.WithTimeout(background, time.Duration(i)*10*time.Microsecond)
			c, err := wire.Dial(ctx, background, cfg)
			if err != nil {
				if !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("got %v", err)
				}
				cancel()
				continue
			}
			<-ctx.Done()
			cancel()
			if _, err := c.Write([]byte("*1\r\n$4\r\nPING\r\n")); err != nil {
				t.Errorf("the connection is spoilt: %v", err)
			}
			if got, err := io.ReadFull(readerOf{c}, make([]byte, 7)); err != nil {
				t.Errorf("got %d bytes, %v", got, err)
			}
			c.Linger(patience)
			ends++
		}
		t.Logf("%d of 200 dials came through", ends)
	}
}

func TestAServerWithoutTLSIsNamed(t *testing.T) {
	s := serve(t, func(p *peer) { p.Write("-ERR Protocol error: unbalanced quotes in request\r\n"); p.Discard() })
	cfg := s.config()
	cfg.TLS = &tls.Config{InsecureSkipVerify: true}
	wantText(t, refused(t, cfg), "TLS handshake with", "does not speak TLS")
}

func TestACertificateThatIsNotTrustedIsRefused(t *testing.T) {
	s := serveTLS(t, redis(nil))
	cfg := s.config()
	cfg.TLS = &tls.Config{ServerName: "localhost"}
	wantText(t, refused(t, cfg), "TLS handshake with", "certificate")
	await(t, "the connection's end", s.ended)
}

func TestTLSAndUnixSocketsWork(t *testing.T) {
	s := serveTLS(t, redis(nil))
	cfg := s.config()
	cfg.TLS = &tls.Config{InsecureSkipVerify: true}
	if c := dial(t, cfg); c.CanTry() || c.Protocol() != 3 {
		t.Errorf("try %v, protocol %d", c.CanTry(), c.Protocol())
	}
	dir, err := os.MkdirTemp("", "wire") // t.TempDir may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	u := serveWith(t, fakeserver.Config{Unix: filepath.Join(dir, "s"), Script: redis(nil)})
	if c := dial(t, u.config()); c.Protocol() != 3 {
		t.Errorf("protocol %d", c.Protocol())
	}
}

func TestTheDialFunctionIsAsked(t *testing.T) {
	cfg := &wire.Config{Network: "tcp", Addr: "there:1", DialFunc: func(_ context.Context, network, addr string) (net.Conn, error) {
		return nil, errors.New(network + " " + addr + " refused")
	}}
	if err := refused(t, cfg); !strings.Contains(err.Error(), "dial there:1: tcp there:1 refused") {
		t.Errorf("got %v", err)
	}
}

// A connect that gets no answer ends soon after its ctx, and one that does is
// closed so that the server has closed it as well.
func TestTheEndOfCtxLeavesAConnectAMoment(t *testing.T) {
	began := make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		<-began
		cancel()
	}()
	_, err := wire.Dial(ctx, context.Background(), &wire.Config{Network: "tcp", Addr: "nowhere:1",
		DialFunc: func(ctx context.Context, _, _ string) (net.Conn, error) {
			close(began)
			<-ctx.Done()
			return nil, ctx.Err()
		}})
	var we *wire.Error
	if !errors.As(err, &we) || we.Op != "dial" || we.Sent || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}

	ours, theirs := net.Pipe()
	defer theirs.Close()
	ctx, cancel = context.WithCancel(context.Background())
	_, err = wire.Dial(ctx, context.Background(), &wire.Config{Network: "tcp", Addr: "late:1", LingerLimit: time.Second,
		DialFunc: func(ctx context.Context, _, _ string) (net.Conn, error) {
			cancel()
			if ctx.Err() != nil {
				t.Error("the connect was interrupted at once")
			}
			return ours, nil
		}})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if _, err := theirs.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the connection is open: %v", err)
	}
}
