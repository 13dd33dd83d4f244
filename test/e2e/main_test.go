package e2e_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// No test leaves a goroutine behind.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience limits the wait for an event that follows at once.
const patience = testkit.Patience

func succeeded(err error) bool { return err == nil }
func failed(err error) bool    { return err != nil }

// bounded gives a ctx that ends a test which would hang.
func bounded(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	t.Cleanup(cancel)
	return ctx
}

// inBoth runs a test under RESP2 and under RESP3, against one server.
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

// wantServerError wants an error reply with this code.
func wantServerError(t *testing.T, err error, code string) {
	t.Helper()
	var se *respool.ServerError
	if !errors.As(err, &se) || se.Code != code {
		t.Errorf("got %v: want the server's %s", err, code)
	}
}

// wantConnError wants a connection's failure that tells whether the command was sent.
func wantConnError(t *testing.T, err error, sent bool) {
	t.Helper()
	var ce *respool.ConnError
	if !errors.As(err, &ce) {
		t.Errorf("got %T %v: want a *ConnError", err, err)
	} else if ce.Sent != sent {
		t.Errorf("%v: Sent is %v", err, ce.Sent)
	}
}

// wantWords wants an error whose text holds all the words.
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

// calls is how often the server executed a command, given in lower case.
func calls(s *redistest.Server, command string) int {
	stat, _, _ := strings.Cut(s.Info("commandstats")["cmdstat_"+command], ",")
	n, _ := strconv.Atoi(strings.TrimPrefix(stat, "calls="))
	return n
}

// clients gives the fields of CLIENT LIST of each connection with this name.
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

// speaks reports whether a connection in CLIENT LIST is of a protocol. Before 7.0 it is not listed.
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

// fakeServer answers as it likes.
type fakeServer struct {
	listener net.Listener
	// answer gives the bytes that answer a command; "" closes the connection.
	answer func(args []string) string

	done  sync.WaitGroup
	mu    sync.Mutex
	seen  [][]string
	conns []net.Conn
}

// welcome answers the handshake's commands as an old server does.
func welcome(args []string) string {
	switch args[0] {
	case "PING":
		return "+PONG\r\n"
	case "HELLO":
		return "-ERR unknown command 'HELLO'\r\n"
	}
	return "+OK\r\n"
}

func startFake(t *testing.T, answer func(args []string) string) *fakeServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &fakeServer{listener: l, answer: answer}
	f.done.Go(f.accept)
	t.Cleanup(func() {
		l.Close()
		f.mu.Lock()
		for _, conn := range f.conns {
			conn.Close()
		}
		f.mu.Unlock()
		f.done.Wait()
	})
	return f
}

func (f *fakeServer) accept() {
	for {
		conn, err := f.listener.Accept()
		if err != nil {
			return
		}
		f.mu.Lock()
		f.conns = append(f.conns, conn)
		f.mu.Unlock()
		f.done.Go(func() { f.serve(conn) })
	}
}

func (f *fakeServer) serve(conn net.Conn) {
	defer conn.Close()
	r := bufio.NewReader(conn)
	for {
		args, err := readCommand(r)
		if err != nil {
			return
		}
		f.mu.Lock()
		f.seen = append(f.seen, args)
		f.mu.Unlock()
		out := f.answer(args)
		if out == "" {
			return
		}
		if _, err := io.WriteString(conn, out); err != nil {
			return
		}
	}
}

func readCommand(r *bufio.Reader) ([]string, error) {
	var n int
	if _, err := fmt.Fscanf(r, "*%d\r\n", &n); err != nil {
		return nil, err
	}
	args := make([]string, n)
	for i := range args {
		var size int
		if _, err := fmt.Fscanf(r, "$%d\r\n", &size); err != nil {
			return nil, err
		}
		b := make([]byte, size+2)
		if _, err := io.ReadFull(r, b); err != nil {
			return nil, err
		}
		args[i] = string(b[:size])
	}
	return args, nil
}

// commands are those that came, each in one line.
func (f *fakeServer) commands() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var lines []string
	for _, args := range f.seen {
		lines = append(lines, strings.Join(args, " "))
	}
	return lines
}

// newFakeClient makes a client of a fake server.
func newFakeClient(t *testing.T, f *fakeServer, change func(*respool.Options)) *respool.Client {
	t.Helper()
	opt := respool.Options{Addr: f.listener.Addr().String(), Protocol: 2, LingerLimit: time.Second}
	if change != nil {
		change(&opt)
	}
	return openClient(t, opt)
}

// openClient makes a client of any options, and closes it with the test.
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
