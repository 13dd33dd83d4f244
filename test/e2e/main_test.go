package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/fakeserver"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// No test leaves a goroutine behind.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience limits the wait for an event that follows at once.
const patience = testkit.Patience

func succeeded(err error) bool { return err == nil }
func failed(err error) bool    { return err != nil }

// bounded returns a ctx that ends a hanging test.
func bounded(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	t.Cleanup(cancel)
	return ctx
}

// inBoth runs a test in RESP2 and in RESP3, against one server.
func inBoth(t *testing.T, s *redistest.Server, test func(t *testing.T, c *respool.Client, protocol int)) {
	for _, protocol := range []int{2, 3} {
		t.Run(fmt.Sprintf("RESP%d", protocol), func(t *testing.T) {
			s.Do("FLUSHALL")
			test(t, newClient(t, s, func(o *respool.Options) { o.Protocol = protocol }), protocol)
		})
	}
}

func mustDo(t *testing.T, c *respool.Client, args ...any) respool.Reply {
	t.Helper()
	r := c.Do(bounded(t), args...)
	if err := r.Err(); err != nil {
		t.Fatalf("%v: %v", args[0], err)
	}
	return r
}

func wantText(t *testing.T, r respool.Reply, want string) {
	t.Helper()
	if got, err := r.Text(); err != nil || got != want {
		t.Errorf("got %.100q, %v: want %.100q", got, err, want)
	}
}

// wantServerError fails the test unless err is an error reply with this code.
func wantServerError(t *testing.T, err error, code string) {
	t.Helper()
	var se *respool.ServerError
	if !errors.As(err, &se) || se.Code != code {
		t.Errorf("got %v: want the server's %s", err, code)
	}
}

// wantConnError fails the test unless err is a *ConnError with this value of Sent.
func wantConnError(t *testing.T, err error, sent bool) {
	t.Helper()
	var ce *respool.ConnError
	if !errors.As(err, &ce) {
		t.Errorf("got %T %v: want a *ConnError", err, err)
	} else if ce.Sent != sent {
		t.Errorf("%v: Sent is %v", err, ce.Sent)
	}
}

// wantWords fails the test unless the text of err contains all words.
func wantWords(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error: want one with %q", words)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q lacks %q", err, w)
		}
	}
}

// calls is how often the server executed a command. The name is in lower case.
func calls(s *redistest.Server, command string) int {
	stat, _, _ := strings.Cut(s.Info("commandstats")["cmdstat_"+command], ",")
	n, _ := strconv.Atoi(strings.TrimPrefix(stat, "calls="))
	return n
}

// clients returns the fields of CLIENT LIST for each connection with this name.
func clients(s *redistest.Server, name string) []map[string]string {
	var found []map[string]string
	for line := range strings.Lines(s.Do("CLIENT", "LIST")) {
		fields := map[string]string{}
		for f := range strings.FieldsSeq(line) {
			key, value, _ := strings.Cut(f, "=")
			fields[key] = value
		}
		if fields["name"] == name {
			found = append(found, fields)
		}
	}
	return found
}

// speaks reports whether a connection in CLIENT LIST uses a protocol. Servers before 7.0 do not list the protocol.
func speaks(s *redistest.Server, client map[string]string, protocol int) bool {
	return client["resp"] == fmt.Sprint(protocol) || client["resp"] == "" && !s.Version().Since(7, 0)
}

func acquire(t *testing.T, c *respool.Client) *respool.Conn {
	t.Helper()
	conn, err := c.Acquire(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Release)
	return conn
}

// welcome replies to the commands of the handshake like an old server.
func welcome(args []string) string {
	switch args[0] {
	case "PING":
		return "+PONG\r\n"
	case "HELLO":
		return "-ERR unknown command 'HELLO'\r\n"
	}
	return "+OK\r\n"
}

// startFake starts a server that replies as answer says. It closes the connection after an empty
// reply.
func startFake(t *testing.T, answer func(args []string) string) *fakeserver.Server {
	t.Helper()
	return fakeserver.Start(t, fakeserver.Config{Answer: func(c *fakeserver.Conn, args []string) (string, bool) {
		reply := answer(args)
		if reply == "" {
			c.Close()
		}
		return reply, true
	}})
}

// newFakeClient returns a client of a fake server.
func newFakeClient(t *testing.T, f *fakeserver.Server, change func(*respool.Options)) *respool.Client {
	t.Helper()
	opt := respool.Options{Addr: f.Addr(), Protocol: 2, LingerLimit: time.Second}
	if change != nil {
		change(&opt)
	}
	return openClient(t, opt)
}

// openClient returns a client and closes it at the end of the test.
func openClient(t *testing.T, opt respool.Options) *respool.Client {
	t.Helper()
	c, err := respool.New(opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := c.Close(ctx); err != nil {
			t.Errorf("close: %v, %v", err, c.Stats())
		}
	})
	return c
}
