package lane_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/wire"
)

// patience bounds a wait for what must happen; only a failing test waits so long.
const patience = time.Minute

var background = context.Background()

// fataler is what testing.T and rapid.T have in common here.
type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
}

// peer is the server's side of a connection.
type peer struct {
	net.Conn
	in *bufio.Reader
}

// command reads one command; nil at the end of the connection.
func (p *peer) command() []string {
	n, ok := p.header('*')
	if !ok {
		return nil
	}
	args := make([]string, n)
	for i := range args {
		size, ok := p.header('$')
		if !ok {
			return nil
		}
		b := make([]byte, size+2)
		if _, err := io.ReadFull(p.in, b); err != nil {
			return nil
		}
		args[i] = string(b[:size])
	}
	return args
}

func (p *peer) header(kind byte) (int, bool) {
	line, err := p.in.ReadString('\n')
	if err != nil || len(line) < 4 || line[0] != kind {
		return 0, false
	}
	n, err := strconv.Atoi(line[1 : len(line)-2])
	return n, err == nil
}

// send writes replies as they are; an error means that the lane has closed.
func (p *peer) send(replies string) bool {
	_, err := io.WriteString(p.Conn, replies)
	return err == nil
}

// drop reads to the client's end.
func (p *peer) drop() { _, _ = io.Copy(io.Discard, p.in) }

// answer sends reply to each command.
func answer(reply string) func(*peer) {
	return func(p *peer) {
		for p.command() != nil && p.send(reply) {
		}
	}
}

func bulk(s string) string { return "$" + strconv.Itoa(len(s)) + "\r\n" + s + "\r\n" }

// echo answers each command with its last argument.
func echo(p *peer) {
	for {
		args := p.command()
		if args == nil || !p.send(bulk(args[len(args)-1])) {
			return
		}
	}
}

// transport is how a lane reaches its server.
type transport string

const (
	overTCP  transport = "tcp"  // a socket, written by callers
	overPipe transport = "pipe" // net.Pipe, written by the writer goroutine
	overTLS  transport = "tls"
)

var transports = []transport{overTCP, overPipe, overTLS}

// onEach runs a test over every transport.
func onEach(t *testing.T, test func(t *testing.T, over transport)) {
	for _, over := range transports {
		t.Run(string(over), func(t *testing.T) { test(t, over) })
	}
}

// link is a lane and what became of it.
type link struct {
	*lane.Lane
	t      fataler
	dead   atomic.Int32
	cause  error
	closed chan struct{} // OnClosed was called
	served chan struct{} // the server's goroutine has ended
}

func config() *lane.Config {
	return &lane.Config{Window: 1024, WindowBytes: 4 << 20, LingerLimit: patience}
}

// connect opens a lane to a server that shakes hands and then does as serve
// says; the server closes when serve returns.
func connect(t fataler, over transport, cfg *lane.Config, serve func(*peer)) *link {
	t.Helper()
	k := &link{t: t, closed: make(chan struct{}), served: make(chan struct{})}
	cfg.OnDead = func(_ *lane.Lane, cause error) {
		k.cause = cause
		k.dead.Add(1)
	}
	cfg.OnClosed = func(*lane.Lane) { close(k.closed) }
	conn, err := wire.Dial(background, background, k.listen(over, serve))
	if err != nil {
		t.Fatalf("dial: %v", err)
	}
	k.Lane = lane.New(conn, cfg)
	return k
}

// listen starts a server for one connection and says how to reach it.
func (k *link) listen(over transport, serve func(*peer)) *wire.Config {
	run := func(nc net.Conn) {
		defer close(k.served)
		defer nc.Close()
		p := &peer{nc, bufio.NewReaderSize(nc, 64<<10)}
		if hello, ping := p.command(), p.command(); hello == nil || ping == nil {
			return
		}
		if p.send("%2\r\n+proto\r\n:3\r\n+version\r\n+7.0.0\r\n+PONG\r\n") {
			serve(p)
		}
	}
	if over == overPipe {
		return &wire.Config{Addr: "pipe", DialFunc: func(context.Context, string, string) (net.Conn, error) {
			ours, theirs := net.Pipe()
			go run(theirs)
			return ours, nil
		}}
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		k.t.Fatalf("listen: %v", err)
	}
	cfg := &wire.Config{Network: "tcp", Addr: ln.Addr().String()}
	var serverTLS *tls.Config
	if over == overTLS {
		cfg.TLS, serverTLS = &tls.Config{InsecureSkipVerify: true}, testkit.ServerTLS(k.t)
	}
	go func() {
		nc, err := ln.Accept()
		_ = ln.Close()
		if err != nil {
			close(k.served)
			return
		}
		if serverTLS != nil {
			nc = tls.Server(nc, serverTLS)
		}
		run(nc)
	}()
	return cfg
}

// wait waits for what must come.
func (k *link) wait(what string, ch <-chan struct{}) {
	k.t.Helper()
	await(k.t, what, ch)
}

func await[T any](t fataler, what string, ch <-chan T) (v T) {
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

// waitDepth waits until as many replies are due.
func (k *link) waitDepth(n int) {
	k.t.Helper()
	within(k.t, fmt.Sprintf("%d replies due", n), func() bool { return k.Depth() == n })
}

// within polls for what no channel tells.
func within(t fataler, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(100 * time.Microsecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); !ok(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// close ends the lane and checks that OnDead is called once. The goroutine that failed the lane may call it after the
// socket is closed.
func (k *link) close() {
	k.t.Helper()
	k.Fail(wire.ErrClosed)
	k.wait("the end of the socket", k.closed)
	k.wait("the end of the server", k.served)
	within(k.t, "OnDead", func() bool { return k.dead.Load() > 0 })
	if n := k.dead.Load(); n != 1 {
		k.t.Errorf("OnDead was called %d times, want once", n)
	}
}

func (k *link) do(args ...any) ([]byte, error) {
	return k.Do(background, args, lane.Options{})
}

// want does a command and checks its reply.
func (k *link) want(reply string, args ...any) {
	k.t.Helper()
	if got, err := k.do(args...); err != nil || string(got) != reply {
		k.t.Fatalf("%v: got %.100q, %v; want %.100q", args[0], got, err, reply)
	}
}

// result is what a call gave.
type result struct {
	frame []byte
	err   error
}

// start does a command on a goroutine of its own.
func (k *link) start(ctx context.Context, opt lane.Options, args ...any) <-chan result {
	ch := make(chan result, 1)
	go func() {
		frame, err := k.Do(ctx, args, opt)
		ch <- result{frame, err}
	}()
	return ch
}

// wantSent checks what a failure says of what was written.
func wantSent(t fataler, err error, sent bool) {
	t.Helper()
	var we *wire.Error
	if !errors.As(err, &we) || we.Sent != sent {
		t.Errorf("got %v; want a *wire.Error with Sent %v", err, sent)
	}
}
