package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// The commands on a connection decide whether the client keeps it.
func TestConnComesBackCleanOrIsClosed(t *testing.T) {
	s := redistest.Start(t, redistest.Config{Password: "secret"})
	for _, tt := range []struct {
		name     string
		commands []string
		kept     bool
	}{
		{"nothing", nil, true},
		{"commands", []string{"SET k v", "GET k", "LPUSH k x"}, true},
		{"SELECT", []string{"SELECT 1"}, false},
		{"SELECT and back", []string{"SELECT 1", "SELECT 0"}, true},
		{"SELECT refused", []string{"SELECT 99999", "SELECT x"}, true},
		{"WATCH", []string{"WATCH k"}, false},
		{"WATCH and UNWATCH", []string{"WATCH k", "UNWATCH"}, true},
		{"MULTI", []string{"MULTI"}, false},
		{"MULTI and EXEC", []string{"MULTI", "INCR n", "EXEC"}, true},
		{"MULTI and DISCARD", []string{"WATCH k", "MULTI", "INCR n", "DISCARD"}, true},
		{"WATCH, MULTI and EXEC", []string{"WATCH k", "MULTI", "INCR n", "EXEC"}, true},
		{"MULTI, UNWATCH and EXEC", []string{"WATCH k", "MULTI", "UNWATCH", "EXEC"}, true},
		{"EXECABORT", []string{"WATCH k", "MULTI", "INCR", "EXEC"}, true},
		{"EXEC alone", []string{"EXEC", "DISCARD"}, true},
		{"EXEC refused and WATCH", []string{"WATCH k", "EXEC"}, false},
		{"SELECT inside MULTI", []string{"MULTI", "SELECT 1", "EXEC"}, false},
		{"CLIENT SETNAME", []string{"CLIENT SETNAME other"}, false},
		{"CLIENT GETNAME", []string{"CLIENT GETNAME", "CLIENT ID"}, true},
		{"CLIENT TRACKING", []string{"CLIENT TRACKING on"}, false},
		{"CLIENT TRACKING refused", []string{"CLIENT TRACKING maybe"}, true},
		{"AUTH", []string{"AUTH secret"}, false},
		{"AUTH refused", []string{"AUTH wrong"}, true},
		{"HELLO", []string{"HELLO 2"}, false},
		{"RESET", []string{"RESET"}, false},
		{"QUIT", []string{"QUIT"}, false},
		{"WAIT", []string{"WAIT 0 1"}, true},
		{"BLPOP", []string{"BLPOP q 0.002"}, true}, // 6.2 rounds 0.001 to no timeout
		{"an unknown command", []string{"NOSUCH"}, true},
		{"a refused command", []string{"SUBSCRIBE ch"}, true},
	} {
		for _, pipelined := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s pipelined %v", tt.name, pipelined), func(t *testing.T) {
				if pipelined && slices.Contains([]string{"a refused command", "QUIT", "AUTH", "AUTH refused", "HELLO"}, tt.name) {
					return // other tests cover the error
				}
				c := newClient(t, s, func(o *respool.Options) { o.MaxConnections, o.Protocol = 1, 3 })
				conn := acquire(t, c)
				p := conn.Pipeline()
				for _, command := range tt.commands {
					args := fieldsOf(command)
					if pipelined {
						p.Do(args...)
					} else if err := conn.Do(bounded(t), args...).Err(); errors.As(err, new(*respool.ConnError)) {
						t.Errorf("%s: %v", command, err)
					}
				}
				if _, err := p.Exec(bounded(t)); err != nil {
					t.Error(err)
				}
				conn.Release()
				wantText(t, mustDo(t, c, "SET", "k", "v"), "OK")
				if kept := c.Stats().Dials == 1; kept != tt.kept {
					t.Errorf("kept is %v: want %v", kept, tt.kept)
				}
				for _, got := range clients(s, "stress") {
					if got["db"] != "0" || got["flags"] != "N" || !speaks(s, got, 3) {
						t.Errorf("the next one gets %v", got)
					}
				}
			})
		}
	}
}

func fieldsOf(command string) []any {
	var args []any
	for word := range strings.FieldsSeq(command) {
		args = append(args, word)
	}
	return args
}

func TestConnKeepsItsState(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	c := newClient(t, s, func(o *respool.Options) { o.DB = 2 })
	ctx := bounded(t)
	conn := acquire(t, c)
	mustDo(t, c, "SET", "k", "db 2")
	wantText(t, conn.Do(ctx, "GET", "k"), "db 2")
	wantText(t, conn.Do(ctx, "SELECT", 1), "OK")
	wantText(t, conn.Do(ctx, "SET", "k", "db 1"), "OK")
	wantText(t, mustDo(t, c, "GET", "k"), "db 2")
	wantText(t, conn.Do(ctx, "SELECT", []byte("2")), "OK")
	replies, err := conn.Pipeline().Do("MULTI").Do("GET", "k").Do("EXEC").Exec(ctx)
	if err != nil || len(replies) != 3 {
		t.Fatalf("%d replies, %v", len(replies), err)
	}
	if texts, err := replies[2].Texts(); err != nil || len(texts) != 1 || texts[0] != "db 2" {
		t.Errorf("EXEC returns %q, %v", texts, err)
	}
	wantKept(t, c, conn)
}

func TestReleasedConn(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	c := newClient(t, s, func(o *respool.Options) { o.MaxConnections = 1 })
	ctx := bounded(t)
	conn := acquire(t, c)
	p := conn.Pipeline().Do("PING")
	conn.Release()
	next := acquire(t, c)
	conn.Release()
	conn.Destroy()
	if err := conn.Do(ctx, "PING").Err(); !errors.Is(err, respool.ErrReleased) {
		t.Errorf("Do: %v: want ErrReleased", err)
	}
	if _, err := p.Exec(ctx); !errors.Is(err, respool.ErrReleased) {
		t.Errorf("Exec: %v: want ErrReleased", err)
	}
	wantText(t, next.Do(ctx, "PING"), "PONG")
	if st := c.Stats(); st.Dedicated != 1 || st.Dials != 1 {
		t.Errorf("%v, %d dials", st, st.Dials)
	}
	next.Destroy()
	next.Release()
	mustDo(t, c, "PING")
	if n := c.Stats().Dials; n != 2 {
		t.Errorf("%d dials: want 2", n)
	}
}

// A reply whose caller has left does not reach the next holder of the connection.
func TestAbandonedReplyDoesNotReachTheNextHolder(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	c := newClient(t, s, func(o *respool.Options) { o.MaxConnections = 1 })
	for i := range 20 {
		conn := acquire(t, c)
		s.Pause()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Millisecond)
		if err := conn.Do(ctx, "ECHO", "abandoned").Err(); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v: want the end of the ctx", err)
		}
		cancel()
		conn.Release()
		s.Resume()
		next := acquire(t, c)
		wantText(t, next.Do(bounded(t), "ECHO", i), fmt.Sprint(i))
		next.Release()
	}
	if n := c.Stats().Dials; n != 1 {
		t.Errorf("%d dials: want 1", n)
	}
}

func TestBrokenConnStaysBroken(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	c := newClient(t, s, nil)
	ctx := bounded(t)
	conn := acquire(t, c)
	killAll(s)
	testkit.Await(t, "a SET fails", func() error { return conn.Do(ctx, "SET", "k", "v").Err() }, failed)
	wantConnError(t, conn.Do(ctx, "SET", "k", "v").Err(), false)
	conn.Release()
	wantText(t, acquire(t, c).Do(ctx, "PING"), "PONG")
}

func TestWatchExecutesOnlyIfNoKeyChanged(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	inBoth(t, s, func(t *testing.T, c *respool.Client, protocol int) {
		ctx := bounded(t)
		replies, err := c.Watch(ctx, []string{"k", "other"}, func(w *respool.Watched) error {
			if r := w.Do(ctx, "GET", "k"); !r.IsNil() {
				t.Errorf("k is %v", r)
			}
			w.Queue("SET", "k", "v").Queue("GET", "k").Queue("INCR", "k")
			return nil
		})
		if err != nil || len(replies) != 3 {
			t.Fatalf("%d replies, %v", len(replies), err)
		}
		wantText(t, replies[1], "v")
		wantServerError(t, replies[2].Err(), "ERR")

		replies, err = c.Watch(ctx, []string{"k"}, func(w *respool.Watched) error {
			mustDo(t, c, "SET", "k", "changed")
			w.Queue("SET", "k", "lost")
			return nil
		})
		if !errors.Is(err, respool.ErrConflict) || replies != nil {
			t.Errorf("%d replies, %v: want ErrConflict", len(replies), err)
		}
		wantText(t, mustDo(t, c, "GET", "k"), "changed")

		own := errors.New("own")
		if _, err = c.Watch(ctx, []string{"k"}, func(w *respool.Watched) error {
			w.Queue("SET", "k", "lost")
			return own
		}); err != own {
			t.Errorf("got %v: want the function's error as it is", err)
		}
		if replies, err = c.Watch(ctx, []string{"k"}, func(w *respool.Watched) error { return nil }); err != nil || replies != nil {
			t.Errorf("nothing queued: %d replies, %v", len(replies), err)
		}
		if _, err = c.Watch(ctx, []string{"k"}, func(w *respool.Watched) error {
			w.Queue("SET", "k", "lost").Queue("GET")
			return nil
		}); !errors.As(err, new(*respool.ServerError)) {
			t.Errorf("got %v: want a *ServerError", err)
		}
		wantText(t, mustDo(t, c, "GET", "k"), "changed")
		_, err = c.Watch(ctx, nil, func(w *respool.Watched) error { return nil })
		wantWords(t, err, "one key or more")

		// The connection is clean after all of this.
		if st := c.Stats(); st.Dials != 2 || st.Closed != 0 || st.Dedicated != 0 {
			t.Errorf("%v, %d dials", st, st.Dials)
		}
	})
}

func TestWatchRetryCountsRight(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	c := newClient(t, s, func(o *respool.Options) { o.WaitTimeout = patience })
	ctx := bounded(t)
	const callers, each = 50, 4
	var wg sync.WaitGroup
	var attempts atomic.Int64
	for range callers {
		wg.Go(func() {
			for range each {
				_, err := c.WatchRetry(ctx, 10_000, []string{"n"}, func(w *respool.Watched) error {
					attempts.Add(1)
					n, err := w.Do(ctx, "GET", "n").Int64()
					if err != nil && !errors.Is(err, respool.ErrNil) {
						return err
					}
					w.Queue("SET", "n", n+1)
					return nil
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	wantText(t, mustDo(t, c, "GET", "n"), fmt.Sprint(callers*each))
	t.Logf("%d attempts for %d increments, %d dials", attempts.Load(), callers*each, c.Stats().Dials)
	if st := c.Stats(); st.Closed != 0 || st.Dials > uint64(st.MaxConnections) {
		t.Errorf("conflicts cost connections: %d dials, %d closed", st.Dials, st.Closed)
	}
}

func TestWatchRetryGivesUp(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	c := newClient(t, s, nil)
	ctx := bounded(t)
	tries := 0
	conflict := func(w *respool.Watched) error {
		tries++
		mustDo(t, c, "INCR", "k")
		w.Queue("GET", "k")
		return nil
	}
	_, err := c.WatchRetry(ctx, 5, []string{"k"}, conflict)
	if !errors.Is(err, respool.ErrConflict) || tries != 5 {
		t.Errorf("%v after %d tries", err, tries)
	}
	wantWords(t, err, "5 attempts")
	_, err = c.WatchRetry(ctx, 0, []string{"k"}, conflict)
	wantWords(t, err, "0 attempts")
	short, cancel := context.WithCancel(ctx)
	_, err = c.WatchRetry(short, 1_000_000, []string{"k"}, func(w *respool.Watched) error {
		if tries++; tries == 20 {
			cancel()
		}
		return conflict(w)
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v: want the end of the ctx", err)
	}
}

// After a panic of the function, or the end of the ctx, no connection stays in the WATCH state.
func TestWatchAfterAPanicOrACanceledContext(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	c := newClient(t, s, func(o *respool.Options) { o.MaxConnections = 1 })
	func() {
		defer func() { _ = recover() }()
		_, _ = c.Watch(bounded(t), []string{"k"}, func(w *respool.Watched) error { panic("on purpose") })
	}()
	ctx, cancel := context.WithCancel(context.Background())
	_, err := c.Watch(ctx, []string{"k"}, func(w *respool.Watched) error {
		cancel()
		return ctx.Err()
	})
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	s.Do("SET", "k", "changed")
	if _, err := c.Transaction().Do("GET", "k").Exec(bounded(t)); err != nil {
		t.Errorf("the next caller's transaction: %v", err)
	}
}

// A caller that leaves while WATCH is pending leaves no connection behind.
func TestACallerThatLeavesAtWatchHoldsNoConnection(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	c := newClient(t, s, func(o *respool.Options) { o.MaxConnections = 3 })
	acquire(t, c).Release() // WATCH finds an idle connection
	s.Pause()
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if _, err := c.Watch(ctx, []string{"k"}, func(*respool.Watched) error { return nil }); err == nil {
		t.Error("WATCH got a reply of a stopped server")
	}
	s.Resume()
	checkFree(t, c, 3)
}
