package vocabulary_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/command"
	"github.com/seed-2b0d76a6/respool/internal/vocabulary"
	"github.com/seed-2b0d76a6/respool/internal/wire"
	"github.com/seed-2b0d76a6/respool/resp"
)

// server answers queries about commands, after latency. refusal, if set, is the reply to COMMAND INFO, and to COMMAND
// with refusesAll.
type server struct {
	mu         sync.Mutex
	commands   []string
	refusal    string
	refusesAll bool
	failure    error
	latency    time.Duration
	queries    []string
}

// entry is the description of a command that reads one key.
func entry(name string) string {
	return fmt.Sprintf("*7\r\n$%d\r\n%s\r\n:2\r\n*1\r\n+readonly\r\n:1\r\n:1\r\n:1\r\n*1\r\n+@read\r\n", len(name), name)
}

func (s *server) ask(ctx context.Context, args []any, _ int) ([]byte, error) {
	s.mu.Lock()
	s.queries = append(s.queries, strings.TrimSpace(fmt.Sprintln(args...)))
	s.mu.Unlock()
	select {
	case <-time.After(s.latency):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.failure != nil:
		return nil, s.failure
	case s.refusal != "" && (len(args) > 1 || s.refusesAll):
		return []byte("-" + s.refusal + "\r\n"), nil
	case len(args) > 1 && slices.Contains(s.commands, args[2].(string)):
		return []byte("*1\r\n" + entry(args[2].(string))), nil
	case len(args) > 1:
		return []byte("*1\r\n_\r\n"), nil
	}
	reply := fmt.Sprintf("*%d\r\n", len(s.commands))
	for _, name := range s.commands {
		reply += entry(name)
	}
	return []byte(reply), nil
}

// learner returns a Learner that asks the server.
func (s *server) learner(t *testing.T) *vocabulary.Learner {
	l := vocabulary.New(vocabulary.Config{Place: "server:6379", ReplyLimit: 1 << 20, WaitLimit: time.Second, Ask: s.ask})
	t.Cleanup(l.Close)
	return l
}

// asked returns the queries since the last call.
func (s *server) asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	queries := s.queries
	s.queries = nil
	return queries
}

func known(l *vocabulary.Learner, name string) command.Known {
	_, known := l.Find([]any{name, "k"})
	return known
}

func wants(t *testing.T, what string, got, want any) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func TestConcurrentCallersShareOneQuery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{commands: []string{"X.GET", "X.SCAN"}, latency: time.Millisecond}
		l := s.learner(t)
		wants(t, "before the first query", known(l, "X.GET"), command.NotAsked)
		var wg sync.WaitGroup
		for range 10 {
			for _, name := range s.commands {
				wg.Go(func() {
					if err := l.Learn(t.Context(), name); err != nil {
						t.Error(err)
					}
				})
			}
		}
		wg.Wait()
		wants(t, "queries", s.asked(), []string{"COMMAND"})
		info, k := l.FindBytes([][]byte{[]byte("x.get"), []byte("k")})
		if k != command.Learned || !info.ReadOnly || info.Class != command.Multiplexed {
			t.Errorf("x.get: %v, %+v", k, info)
		}
	})
}

func TestAnAbsentNameIsAskedAgainAfterAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{}
		l := s.learner(t)
		for range 3 {
			if err := l.Learn(t.Context(), "X.NEW"); err != nil {
				t.Fatal(err)
			}
		}
		wants(t, "queries", s.asked(), []string{"COMMAND", "COMMAND INFO X.NEW"})
		wants(t, "a name that the server lacks", known(l, "X.NEW"), command.Absent)
		s.commands = []string{"X.NEW"} // a module was loaded
		time.Sleep(time.Second)
		if err := l.Learn(t.Context(), "X.NEW"); err != nil {
			t.Fatal(err)
		}
		wants(t, "after the module was loaded", known(l, "X.NEW"), command.Learned)
	})
}

// A client may send any number of names that no server knows.
func TestSingleNamesAreAskedAtALimitedRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{}
		l := s.learner(t)
		learn := func(n int) {
			for i := range n {
				if err := l.Learn(t.Context(), fmt.Sprintf("X.%d", i)); err != nil {
					t.Fatal(err)
				}
			}
		}
		learn(1000)
		if n := len(s.asked()); n != 1+20 {
			t.Errorf("%d queries at once: want COMMAND and 20 names", n)
		}
		wants(t, "a name beyond the rate", known(l, "X.999"), command.Absent)
		time.Sleep(2 * time.Second)
		learn(1000)
		if n := len(s.asked()); n != 20 {
			t.Errorf("%d queries after a pause: want 20", n)
		}
	})
}

func TestAServerThatRefusesToAnswerIsNotAskedForAWhile(t *testing.T) {
	for _, refusal := range []string{"NOPERM this user has no permissions to run the 'command' command", "ERR unknown command 'COMMAND'"} {
		synctest.Test(t, func(t *testing.T) {
			s := &server{refusal: refusal, refusesAll: true}
			l := s.learner(t)
			for range 3 {
				if err := l.Learn(t.Context(), "X.GET"); err != nil {
					t.Fatal(err)
				}
			}
			wants(t, "queries", s.asked(), []string{"COMMAND", "COMMAND INFO X.GET"})
			wants(t, "after the refusal", known(l, "X.GET"), command.Hidden)
			s.refusal, s.commands = "", []string{"X.GET"}
			time.Sleep(31 * time.Second)
			wants(t, "later", known(l, "X.GET"), command.NotAsked)
			if err := l.Learn(t.Context(), "X.GET"); err != nil {
				t.Fatal(err)
			}
			wants(t, "after permission was given", known(l, "X.GET"), command.Learned)
		})
	}
}

// A temporary state of the server is the caller's error. The next caller asks again.
func TestATemporaryRefusalIsTheCallersError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{commands: []string{"X.GET"}, refusal: "BUSY Redis is busy running a script.", refusesAll: true}
		l := s.learner(t)
		var se *resp.ServerError
		if err := l.Learn(t.Context(), "X.GET"); !errors.As(err, &se) || se.Code != "BUSY" {
			t.Errorf("the error is %v", err)
		}
		s.refusal = ""
		if err := l.Learn(t.Context(), "X.GET"); err != nil || known(l, "X.GET") != command.Learned {
			t.Errorf("after the script: %v, %v", known(l, "X.GET"), err)
		}
	})
}

func TestAFailedQueryIsTheCallersError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("connection reset")
		s := &server{failure: broken}
		l := s.learner(t)
		if err := l.Learn(t.Context(), "X.GET"); !errors.Is(err, broken) {
			t.Errorf("the error is %v", err)
		}
		wants(t, "afterwards", known(l, "X.GET"), command.NotAsked)
	})
}

func TestWithASmallReplyLimitOnlyNamesAreAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{commands: []string{"X.GET"}}
		l := vocabulary.New(vocabulary.Config{ReplyLimit: 1<<20 - 1, WaitLimit: time.Second, Ask: s.ask})
		defer l.Close()
		if err := l.Learn(t.Context(), "X.GET"); err != nil {
			t.Fatal(err)
		}
		wants(t, "queries", s.asked(), []string{"COMMAND INFO X.GET"})
		wants(t, "the name", known(l, "X.GET"), command.Learned)
	})
}

func TestAnotherServerIsAskedAgain(t *testing.T) {
	for _, x := range []struct {
		addr, version string
		again         bool
	}{
		{"a:1", "7.2.0", false},
		{"b:1", "7.2.0", false}, // the same version knows the same commands
		{"a:1", "", false},
		{"b:1", "", true},
		{"a:1", "7.4.0", true},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := &server{commands: []string{"X.GET"}}
			l := s.learner(t)
			l.Dialed("a:1", "7.2.0")
			if err := l.Learn(t.Context(), "X.GET"); err != nil {
				t.Fatal(err)
			}
			l.Dialed(x.addr, x.version)
			want := command.Learned
			if x.again {
				want = command.NotAsked
			}
			wants(t, fmt.Sprintf("after a dial of %s with version %q", x.addr, x.version), known(l, "X.GET"), want)
		})
	}
}

// An answer of the old server does not describe the new one.
func TestAnAnswerThatArrivesAfterAChangeOfTheServerIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{commands: []string{"X.GET"}, latency: time.Second}
		l := s.learner(t)
		l.Dialed("a:1", "7.2.0")
		go func() {
			time.Sleep(time.Second / 2)
			l.Dialed("a:1", "7.4.0")
		}()
		if err := l.Learn(t.Context(), "X.GET"); err != nil {
			t.Fatal(err)
		}
		wants(t, "queries", s.asked(), []string{"COMMAND", "COMMAND"})
	})
}

func TestACallerMayLeaveAQuery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{commands: []string{"X.GET"}, latency: time.Minute}
		l := s.learner(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		var failed *wire.Error
		if err := l.Learn(ctx, "X.GET"); !errors.Is(err, context.DeadlineExceeded) || !errors.As(err, &failed) || failed.Addr != "server:6379" {
			t.Errorf("the error is %v", err)
		}
		if err := l.Learn(ctx, "X.GET"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("with a ctx that has ended: %v", err)
		}
		wants(t, "queries", len(s.asked()), 1)
	})
}

func TestCloseEndsTheQueries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{latency: time.Minute}
		l := s.learner(t)
		left := make(chan error, 1)
		go func() { left <- l.Learn(context.Background(), "X.GET") }()
		synctest.Wait()
		l.Close()
		if err := <-left; !errors.Is(err, context.Canceled) {
			t.Errorf("a caller in a query got %v", err)
		}
		if err := l.Learn(t.Context(), "X.GET"); !errors.Is(err, wire.ErrClosed) {
			t.Errorf("a later caller got %v", err)
		}
	})
}
