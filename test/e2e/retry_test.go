package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/faultnet"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// killAll kills every connection of the client and returns their number.
func killAll(s *redistest.Server) int {
	n, _ := strconv.Atoi(s.Do("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"))
	return n
}

// The client sends reads again after their connection is killed. Callers get no error.
func TestKilledConnectionsFailNoReads(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	c := newClient(t, s, nil)
	ctx := bounded(t)
	if err := c.Warm(ctx); err != nil {
		t.Fatal(err)
	}
	mustDo(t, c, "SET", "k", "v")
	var wg sync.WaitGroup
	var right atomic.Int64
	stop := make(chan struct{})
	for range 20 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				text, err := c.Do(ctx, "GET", "k").Text()
				if err != nil || text != "v" {
					t.Errorf("GET returns %q, %v", text, err)
					return
				}
				replies, err := c.Pipeline().Do("GET", "k").Do("EXISTS", "k").Exec(ctx)
				if err != nil || len(replies) != 2 {
					t.Errorf("a pipeline returns %d replies, %v", len(replies), err)
					return
				}
				right.Add(1)
			}
		})
	}
	for range 20 {
		before := right.Load()
		// One at a time: with no connection left, callers would get the error of a failed dial.
		if lanes := clients(s, "stress"); len(lanes) > 0 {
			s.Do("CLIENT", "KILL", "ID", lanes[0]["id"])
		}
		testkit.Eventually(t, "100 more replies are right", func() bool { return right.Load() >= before+100 || t.Failed() })
	}
	close(stop)
	wg.Wait()
	if st := c.Stats(); st.FailedLanes < 10 {
		t.Errorf("20 connections killed, %d failed lanes", st.FailedLanes)
	}
}

// killedWhilePaused runs a command while the server is paused, and kills its connection.
func killedWhilePaused(t *testing.T, s *redistest.Server, do func(ctx context.Context) error) error {
	t.Helper()
	s.Do("CLIENT", "PAUSE", "60000", "WRITE")
	failed := make(chan error, 1)
	ctx := bounded(t)
	go func() { failed <- do(ctx) }()
	blocked(t, s, 1)
	if killAll(s) == 0 {
		t.Error("no connection was killed")
	}
	err := <-failed
	s.Do("CLIENT", "UNPAUSE")
	return err
}

// A write whose connection was killed may have run, so the client does not send it again.
func TestKilledWritesAreNotSentAgain(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	c := newClient(t, s, nil)
	mustDo(t, c, "PING")
	for name, do := range map[string]func(ctx context.Context) error{
		"Do": func(ctx context.Context) error { return c.Do(ctx, "INCR", "n").Err() },
		"Pipeline": func(ctx context.Context) error {
			replies, err := c.Pipeline().Do("GET", "k").Do("INCR", "n").Do("GET", "k").Exec(ctx)
			if len(replies) != 3 {
				t.Errorf("%d replies: want 3", len(replies))
				return err
			}
			if !replies[0].IsNil() {
				t.Errorf("the reply before it is lost: %v", replies[0])
			}
			wantConnError(t, replies[1].Err(), true)
			wantConnError(t, replies[2].Err(), true)
			return err
		},
		"Transaction": func(ctx context.Context) error {
			_, err := c.Transaction().Do("INCR", "n").Exec(ctx)
			return err
		},
		"Watch": func(ctx context.Context) error {
			_, err := c.Watch(ctx, []string{"n"}, func(w *respool.Watched) error {
				w.Queue("INCR", "n")
				return nil
			})
			return err
		},
		"Conn": func(ctx context.Context) error {
			conn, err := c.Acquire(ctx)
			if err != nil {
				return err
			}
			defer conn.Release()
			return conn.Do(ctx, "INCR", "n").Err()
		},
		"blocking Do": func(ctx context.Context) error { return c.Do(ctx, "BLPOP", "q", 0).Err() },
		"script":      func(ctx context.Context) error { return c.Do(ctx, "EVAL", "return redis.call('incr','n')", 0).Err() },
	} {
		t.Run(name, func(t *testing.T) {
			err := killedWhilePaused(t, s, do)
			wantConnError(t, err, true)
			wantWords(t, err, "may have been executed")
			if r := mustDo(t, c, "GET", "n"); !r.IsNil() {
				t.Errorf("n is %v: the killed write was executed", r)
			}
		})
	}
}

// Each acknowledged write runs exactly once, and each other write at most once, while connections are killed.
func TestNoWriteRunsTwice(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	c := newClient(t, s, nil)
	ctx := bounded(t)
	var wg sync.WaitGroup
	var done atomic.Int64
	const callers, each = 20, 200
	type outcome struct{ ok, unsure int }
	outcomes := make([]outcome, callers)
	for i := range outcomes {
		wg.Go(func() {
			for range each {
				err := c.Do(ctx, "INCR", fmt.Sprint("n", i)).Err()
				var ce *respool.ConnError
				switch {
				case err == nil:
					outcomes[i].ok++
				case !errors.As(err, &ce):
					t.Error(err)
				case ce.Sent:
					outcomes[i].unsure++
				}
				done.Add(1)
			}
		})
	}
	for next := int64(100); done.Load() < callers*each; next += 300 {
		testkit.Eventually(t, "300 more commands end", func() bool { n := done.Load(); return n >= next || n == callers*each })
		killAll(s)
	}
	wg.Wait()
	for i, o := range outcomes {
		n, err := strconv.Atoi(s.Do("GET", fmt.Sprint("n", i)))
		if err != nil || n < o.ok || n > o.ok+o.unsure {
			t.Errorf("n%d is %d, %v: %d writes were acknowledged and %d unsure", i, n, err, o.ok, o.unsure)
		}
	}
}

func TestServerRestart(t *testing.T) {
	s := redistest.Start(t, redistest.Config{AppendOnly: true})
	c := newClient(t, s, nil)
	ctx := bounded(t)
	mustDo(t, c, "SET", "k", "v")
	conn := acquire(t, c)
	s.Stop()
	testkit.Eventually(t, "every connection is closed", func() bool { return c.Stats().Closed == c.Stats().Dials })
	wantConnError(t, conn.Do(ctx, "PING").Err(), false)
	conn.Release()
	err := c.Do(ctx, "GET", "k").Err()
	wantConnError(t, err, false)
	wantWords(t, err, "refused", s.Addr())
	if st := c.Stats(); st.LastDialError == nil || st.DialFailures == 0 || st.Sockets() != 0 {
		t.Errorf("%v, %d failures, %v", st, st.DialFailures, st.LastDialError)
	}
	_, err = c.Acquire(ctx)
	wantConnError(t, err, false)
	s.Restart()
	testkit.Await(t, "a PING succeeds", func() error { return c.Do(ctx, "PING").Err() }, succeeded)
	wantText(t, mustDo(t, c, "GET", "k"), "v")
	if st := c.Stats(); st.LastDialError != nil {
		t.Errorf("the last dial succeeded, but the error is %v", st.LastDialError)
	}
}

// While a server is down, callers get the dial error at once, not after a wait.
func TestCallersFailFastWhileTheServerIsDown(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	c := newClient(t, s, func(o *respool.Options) { o.WaitTimeout = time.Minute })
	s.Kill()
	ctx := bounded(t)
	for range 200 {
		err := c.Do(ctx, "PING").Err()
		wantWords(t, err, "refused")
		wantConnError(t, err, false)
	}
	if n := c.Stats().DialFailures; n > 20 {
		t.Errorf("200 calls led to %d dials", n)
	}
}

// The client requests a truncated reply again, and never returns it as complete.
func TestRepliesCutInTheMiddle(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	relay := faultnet.Start(t, s.Addr())
	c := viaRelay(t, s, relay, func(o *respool.Options) { o.MaxConnections, o.Lanes = 1, 1 })
	big := strings.Repeat("0123456789", 20_000)
	mustDo(t, c, "SET", "k", big)
	for _, at := range []int64{0, 1, 5, 9, 10, 4096, 100_000, int64(len(big)) + 10} {
		mustDo(t, c, "PING")
		relay.CutAfter(at)
		wantText(t, mustDo(t, c, "GET", "k"), big)
		relay.CutAfter(at)
		wantConnError(t, c.Do(bounded(t), "GETSET", "k", big).Err(), true)
	}
}

func TestNoRetries(t *testing.T) {
	f := startFake(t, func(args []string) string {
		if args[0] == "GET" {
			return ""
		}
		return welcome(args)
	})
	for retries, want := range map[int]int{respool.NoRetries: 1, 1: 2, 0: 3, 5: 6} {
		c := newFakeClient(t, f, func(o *respool.Options) { o.Retries = retries })
		key := fmt.Sprint("with ", retries)
		wantConnError(t, c.Do(bounded(t), "GET", key).Err(), true)
		if n := strings.Count(strings.Join(f.Commands(), "\n")+"\n", key+"\n"); n != want {
			t.Errorf("with Retries %d it was sent %d times: want %d", retries, n, want)
		}
	}
}
