//go:build unix

package redistest

import (
	"errors"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/seed-2b0d76a6/respool/internal/testkit"
)

func TestRepliesAreText(t *testing.T) {
	s := Start(t, Config{})
	want(t, "SET", s.Do("SET", "k", "two\r\nlines"), "OK")
	want(t, "GET", s.Do("GET", "k"), "two\r\nlines")
	want(t, "nil", s.Do("GET", "nothing"), "")
	want(t, "RPUSH", s.Do("RPUSH", "l", "a", "", "c"), "3")
	want(t, "LRANGE", s.Do("LRANGE", "l", "0", "-1"), "a\n\nc")
	want(t, "empty array", s.Do("LRANGE", "none", "0", "-1"), "")
	want(t, "nested", s.Do("EVAL", "return {1, {'a', false}, 'b'}", "0"), "1\na\n\nb")
	want(t, "INFO", s.Info("server")["process_id"], strconv.Itoa(s.PID()))
}

func TestAnErrorKeepsTheControlConnection(t *testing.T) {
	s := Start(t, Config{})
	before := s.Do("CLIENT", "ID")
	if _, err := s.TryDo("NOSUCHCOMMAND"); err == nil || !strings.HasPrefix(err.Error(), "ERR unknown command") {
		t.Errorf("TryDo: %v", err)
	}
	want(t, "CLIENT ID", s.Do("CLIENT", "ID"), before)
}

// recorder records whether a test fails.
type recorder struct {
	testing.TB
	failed bool
}

func (r *recorder) Helper()               {}
func (r *recorder) Errorf(string, ...any) { r.failed = true }
func (r *recorder) Error(...any)          { r.failed = true }

func TestFailuresFailTheTest(t *testing.T) {
	r := &recorder{TB: t}
	s := Start(r, Config{})
	fails := func(name string, f func()) {
		t.Helper()
		r.failed = false
		f()
		if !r.failed {
			t.Errorf("%s did not fail the test", name)
		}
	}
	fails("Do", func() { s.Do("NOSUCHCOMMAND") })
	fails("WaitClients", func() { s.WaitClients(r, 7, 0) })
	s.Kill()
	fails("ClientCount of a killed server", func() { s.ClientCount() })
	fails("a watch of a killed server", func() { s.WatchClients().Stop() })
}

func TestTheControlConnectionIsNotCounted(t *testing.T) {
	s := Start(t, Config{})
	watch := s.WatchClients()
	var conns []net.Conn
	for n := range 5 {
		if got := s.ClientCount(); got != n {
			t.Errorf("the server counts %d: want %d", got, n)
		}
		conn := connect(t, "tcp", s.Addr())
		want(t, "PING", ask(t, conn, "PING"), "+PONG")
		conns = append(conns, conn)
	}
	waitPeak(t, watch, 5)
	for _, conn := range conns {
		conn.Close()
	}
	s.WaitClients(t, 0, patience)
	if peak := watch.Stop(); peak != 5 {
		t.Errorf("the peak is %d: want 5", peak)
	}
	if peak := watch.Stop(); peak != 5 { // a second call has no effect
		t.Errorf("the peak is %d afterwards: want 5", peak)
	}
}

func waitPeak(t testing.TB, w *ClientWatch, n int) {
	t.Helper()
	testkit.Await(t, "the peak", w.Peak, testkit.Is(n))
}

func TestCountsAfterARestartAndAKilledControlConnection(t *testing.T) {
	s := Start(t, Config{Password: "secret"})
	watch := s.WatchClients()
	for range 5 {
		s.Kill()
		s.Restart()
		conn := connect(t, "tcp", s.Addr())
		want(t, "AUTH", ask(t, conn, "AUTH secret"), "+OK")
		if got := s.ClientCount(); got != 1 {
			t.Errorf("the server counts %d after a restart: want 1", got)
		}
		want(t, "CLIENT KILL", ask(t, conn, "CLIENT KILL TYPE normal SKIPME yes"), ":1")
		s.WaitClients(t, 1, patience)
		conn.Close()
		s.WaitClients(t, 0, patience)
	}
	if peak := watch.Stop(); peak > 1 {
		t.Errorf("the peak is %d: want 1 at most", peak)
	}
}

func TestTheControlConnectionIsSafeForConcurrentUse(t *testing.T) {
	s := Start(t, Config{})
	watch := s.WatchClients()
	var callers sync.WaitGroup
	for range 8 {
		callers.Go(func() {
			for range 50 {
				s.Do("INCR", "n")
			}
		})
	}
	callers.Wait()
	want(t, "GET", s.Do("GET", "n"), "400")
	if peak := watch.Stop(); peak != 0 {
		t.Errorf("the peak is %d: want 0", peak)
	}
}

func TestAnErrorInsideAnArrayLeavesNothingUnread(t *testing.T) {
	s := Start(t, Config{})
	before := s.Do("CLIENT", "ID")
	_, err := s.TryDo("EVAL", "return {1, redis.error_reply('MY error'), 2}", "0")
	if !errors.As(err, new(serverError)) {
		t.Errorf("TryDo: %v", err)
	}
	want(t, "CLIENT ID", s.Do("CLIENT", "ID"), before)
}
