package e2e_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/command"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/fakeserver"
)

// newStrict returns a client of a server that drops the reply to a refused login while other replies are pending.
func newStrict(t *testing.T, change func(*respool.Options)) (*fakeserver.Server, *respool.Client) {
	s := fakeserver.Start(t, fakeserver.Config{Version: fakeserver.Valkey80, Users: map[string]string{"alice": "secret"}})
	opt := respool.Options{Addr: s.Addr(), MaxConnections: 3}
	if change != nil {
		change(&opt)
	}
	return s, openClient(t, opt)
}

// sends are the ways to send a command that is not on a held connection.
func sends(ctx context.Context, c *respool.Client, args []any) map[string]error {
	_, piped := c.Pipeline().Do("PING").Do(args...).Exec(ctx)
	_, transacted := c.Transaction().Do("PING").Do(args...).Exec(ctx)
	return map[string]error{"Do": c.Do(ctx, args...).Err(), "Pipeline": piped, "Transaction": transacted}
}

// A command that a server may reply to zero or several times never uses a shared connection. The client refuses it, or closes
// the connection after it.
func TestCommandsWithoutExactlyOneReplyShareNoConnection(t *testing.T) {
	s, c := newStrict(t, nil)
	ctx := bounded(t)
	for info := range command.All() {
		if info.Answers() == command.Once {
			continue
		}
		args := []any{}
		for _, word := range strings.Fields(info.Name + " x y") {
			args = append(args, word)
		}
		for way, err := range sends(ctx, c, args) {
			if !errors.Is(err, respool.ErrStateful) && (way != "Do" || info.Class != command.Blocking) {
				t.Errorf("%s by %s: %v", info.Name, way, err)
			}
		}
	}
	for _, line := range s.Commands() {
		switch name, _, _ := strings.Cut(line, " "); name {
		case "HELLO", "CLIENT", "PING", "DEBUG", "SHUTDOWN", "ECHO":
		default:
			t.Errorf("the server received %s", line)
		}
	}
}

// An unknown command may be AUTH under another name.
func TestATransactionWithAnUnknownCommandResetsItsConnection(t *testing.T) {
	s := fakeserver.Start(t, fakeserver.Config{Version: fakeserver.Valkey80, Users: map[string]string{"alice": "secret"},
		Answer: func(_ *fakeserver.Conn, args []string) (string, bool) {
			if args[0] == "COMMAND" {
				return "-NOPERM no\r\n", true
			}
			return "", false
		}})
	c := openClient(t, respool.Options{Addr: s.Addr(), MaxConnections: 3})
	ctx := bounded(t)
	if err := c.Do(ctx, "SET", "k", "v").Err(); err != nil {
		t.Fatal(err)
	}
	before := s.Accepted()
	for n := range 3 {
		if _, err := c.Transaction().Do("SET", "k", "w").Do("OPENSESAME", "alice", "wrong").Exec(ctx); err == nil {
			t.Error("the fake server knows no MULTI")
		}
		testkit.Await(t, "the number of RESETs", func() int { return s.Count("RESET") }, testkit.Is(n+1))
	}
	if n := s.Accepted(); n != before+1 {
		t.Errorf("%d connections, %d before: want one more", n, before)
	}
}

// A held connection sends no login while a reply is pending, even if the caller of that command has left.
func TestAHeldConnectionSendsNoLoginWhileRepliesArePending(t *testing.T) {
	arrived := make(chan struct{}, 1)
	s := fakeserver.Start(t, fakeserver.Config{Version: fakeserver.Redis72, Users: map[string]string{"alice": "secret"},
		Answer: func(_ *fakeserver.Conn, args []string) (string, bool) {
			if args[0] == "INCR" { // the test sends the reply
				arrived <- struct{}{}
				return "", true
			}
			return "", false
		}})
	c := openClient(t, respool.Options{Addr: s.Addr(), MaxConnections: 3})
	conn := acquire(t, c)
	defer conn.Release()
	ctx, cancel := context.WithCancel(bounded(t))
	left := make(chan error, 1)
	go func() { left <- conn.Do(ctx, "INCR", "n").Err() }()
	<-arrived
	cancel()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	login := func() error { return conn.Do(bounded(t), "AUTH", "alice", "wrong").Err() }
	if err := login(); !errors.Is(err, respool.ErrStateful) || s.Count("AUTH") != 0 {
		t.Errorf("a login while a reply is pending: %v", err)
	}
	s.Send(":1\r\n")
	err := testkit.Await(t, "the login reaches the server", login, func(err error) bool { return !errors.Is(err, respool.ErrStateful) })
	wantServerError(t, err, "WRONGPASS")
	for _, text := range []string{"1", "2"} {
		if got, err := conn.Do(bounded(t), "ECHO", text).Text(); got != text {
			t.Errorf("got %q, %v: want %q", got, err, text)
		}
	}
	if _, err := conn.Pipeline().Do("PING").Do("AUTH", "alice", "wrong").Exec(bounded(t)); !errors.Is(err, respool.ErrStateful) {
		t.Errorf("a login in a pipeline: %v", err)
	}
}
