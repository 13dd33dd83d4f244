package faultnet

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"
)

// echo is a server that sends back and records what it receives. It closes a connection after the
// client's half-close.
type echo struct {
	l    net.Listener
	done sync.WaitGroup

	mu    sync.Mutex
	got   bytes.Buffer
	ended int // connections that the client closed or reset
}

func startEcho(t testing.TB) *echo {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e := &echo{l: l}
	e.done.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			e.done.Go(func() { e.serve(conn) })
		}
	})
	t.Cleanup(func() { l.Close(); e.done.Wait() })
	return e
}

func (e *echo) serve(conn net.Conn) {
	defer conn.Close()
	_, _ = io.Copy(conn, io.TeeReader(conn, e))
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ended++
}

func (e *echo) Write(b []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.got.Write(b)
}

func (e *echo) received() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.got.String()
}

func (e *echo) count() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.ended
}

// start returns a relay in front of an echo server. The cleanup of the relay runs first, so it tests
// that Close ends every connection.
func start(t testing.TB) (*echo, *Relay) {
	t.Helper()
	e := startEcho(t)
	return e, Start(t, e.l.Addr().String())
}

func dial(t testing.TB, r *Relay) *net.TCPConn {
	t.Helper()
	conn, err := net.DialTimeout("tcp", r.Addr(), patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return conn.(*net.TCPConn)
}

func send(t testing.TB, conn net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatalf("send: %v", err)
	}
}

func receive(t testing.TB, conn net.Conn, want string) {
	t.Helper()
	b := make([]byte, len(want))
	if n, err := io.ReadFull(conn, b); err != nil || string(b) != want {
		t.Fatalf("received %q, %v: want %q", b[:n], err, want)
	}
}

func exchange(t testing.TB, conn net.Conn, text string) {
	t.Helper()
	send(t, conn, text)
	receive(t, conn, text)
}

// nothing fails the test if a byte or the end arrives within a moment.
func nothing(t testing.TB, conn net.Conn) {
	t.Helper()
	_ = conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	b := make([]byte, 64)
	if n, err := conn.Read(b); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("received %q, %v: want nothing", b[:n], err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(patience))
}

// ending reads to the end and returns the text, and the error of the end: nil for a FIN.
func ending(conn net.Conn) (string, error) {
	b, err := io.ReadAll(conn)
	return string(b), err
}

func wantReset(t testing.TB, conn net.Conn, text string) {
	t.Helper()
	if got, err := ending(conn); got != text || !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the end is %q, %v: want %q and a reset", got, err, text)
	}
}
