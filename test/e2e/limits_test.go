package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
	"github.com/seed-2b0d76a6/respool/resp"
)

// A single connection serves commands, pipelines, transactions, blocking commands, leases and subscriptions in turn.
func TestOneConnectionDoesEverything(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	c := newClient(t, s, func(o *respool.Options) { o.MaxConnections, o.WaitTimeout = 1, patience })
	watch := s.WatchClients()
	ctx := bounded(t)
	var wg sync.WaitGroup
	each := func(do func(i int) error) {
		wg.Go(func() {
			for i := range 30 {
				if err := do(i); err != nil {
					t.Error(err)
				}
			}
		})
	}
	each(func(i int) error { return c.Do(ctx, "SET", "k", i).Err() })
	each(func(i int) error { _, err := c.Pipeline().Do("INCR", "n").Do("GET", "k").Exec(ctx); return err })
	each(func(i int) error { _, err := c.Transaction().Do("INCR", "n").Do("INCR", "m").Exec(ctx); return err })
	each(func(i int) error { return c.Do(ctx, "BLPOP", "empty", 0.002).Err() })
	each(func(i int) error {
		conn, err := c.Acquire(ctx)
		if err != nil {
			return err
		}
		defer conn.Release()
		return conn.Do(ctx, "GET", "k").Err()
	})
	each(func(i int) error {
		_, err := c.WatchRetry(ctx, 100, []string{"n"}, func(w *respool.Watched) error {
			n, err := w.Do(ctx, "GET", "n").Int64()
			w.Queue("SET", "n", n)
			if errors.Is(err, respool.ErrNil) {
				return nil
			}
			return err
		})
		return err
	})
	each(func(i int) error {
		if i%10 != 0 {
			return nil
		}
		sub, err := c.Subscribe(ctx, "ch")
		if err != nil {
			return err
		}
		return sub.Close()
	})
	wg.Wait()
	if peak := watch.Stop(); peak > 1 {
		t.Errorf("the server counted %d connections", peak)
	}
}

func TestHeldConnectionMakesOthersWait(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	c := newClient(t, s, func(o *respool.Options) { o.MaxConnections, o.WaitTimeout = 1, patience })
	ctx := bounded(t)
	mustDo(t, c, "SET", "k", "v")
	conn := acquire(t, c)
	got := make(chan respool.Reply, 1)
	go func() { got <- c.Do(ctx, "GET", "k") }()
	testkit.Await(t, "one caller waits", c.Stats, func(s respool.Stats) bool { return s.Waiting == 1 })
	wantText(t, conn.Do(ctx, "PING"), "PONG")
	select {
	case r := <-got:
		t.Errorf("got %v while the only connection was held", r)
	default:
	}
	conn.Release()
	wantText(t, <-got, "v")
	acquire(t, c).Release()
	mustDo(t, c, "PING")
	if st := c.Stats(); st.Dials != 1 {
		t.Errorf("%d dials: want 1", st.Dials)
	}
}

func TestErrPoolExhaustedShowsThePoolsState(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	c := newClient(t, s, func(o *respool.Options) {
		dedicated(o)
		o.MaxConnections, o.MaxWaiters, o.WaitTimeout = 3, 2, 50*time.Millisecond
	})
	ctx := bounded(t)
	mustDo(t, c, "PING")
	acquire(t, c)
	acquire(t, c)
	began := time.Now()
	_, err := c.Acquire(ctx)
	if !errors.Is(err, respool.ErrPoolExhausted) || time.Since(began) < 50*time.Millisecond {
		t.Errorf("after %v: %v: want ErrPoolExhausted", time.Since(began), err)
	}
	wantWords(t, err, "50ms", "limit 3", "1 lanes", "2 in use", "0 idle", "0 dialing", "0 waiting")
	var timeout interface{ Timeout() bool }
	if !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("%v is no timeout", err)
	}
	if err := c.Do(ctx, "BLPOP", "q", 0).Err(); !errors.Is(err, respool.ErrPoolExhausted) {
		t.Errorf("BLPOP: %v: want ErrPoolExhausted", err)
	}
	mustDo(t, c, "PING") // opens a lane

	waiting, leave := context.WithCancel(ctx)
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			// WaitTimeout passes repeatedly.
			for waiting.Err() == nil {
				if _, err := c.Acquire(waiting); err == nil {
					t.Error("acquired over the limit")
				}
			}
		})
	}
	testkit.Eventually(t, "the limit of waiting callers refuses one", func() bool {
		_, err := c.Acquire(waiting)
		return errors.Is(err, respool.ErrPoolExhausted) && strings.Contains(err.Error(), "2 callers wait already")
	})
	leave()
	wg.Wait()
	// The first two failed. Those of the goroutines fail only if they last for the wait timeout.
	if st := c.Stats(); st.FailedWaits < 2 || st.LongestWait < 50*time.Millisecond || st.Waiting != 0 {
		t.Errorf("%d waits in vain, the longest %v, %d waiting", st.FailedWaits, st.LongestWait, st.Waiting)
	}
}

func TestAnEndedWaitShowsThePoolsState(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	c := newClient(t, s, func(o *respool.Options) { o.MaxConnections = 1 })
	acquire(t, c)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	err := c.Do(ctx, "PING").Err()
	if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, respool.ErrPoolExhausted) {
		t.Errorf("got %v: want the end of the ctx", err)
	}
	wantConnError(t, err, false)
	wantWords(t, err, "limit 1", "1 in use")
}

func TestReplyOverTheLimit(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	inBoth(t, s, func(t *testing.T, _ *respool.Client, protocol int) {
		c := newClient(t, s, func(o *respool.Options) {
			o.Protocol, o.ReplyLimit, o.MaxConnections, o.Lanes = protocol, 1000, 2, 1
		})
		mustDo(t, c, "SET", "big", strings.Repeat("x", 2000))
		mustDo(t, c, "SET", "small", strings.Repeat("x", 900))
		for i := range 3 {
			err := c.Do(bounded(t), "GET", "big").Err()
			if !errors.Is(err, resp.ErrTooLarge) {
				t.Errorf("got %v: want ErrTooLarge", err)
			}
			wantConnError(t, err, true)
			mustDo(t, c, "GET", "small")
			if n := c.Stats().FailedLanes; n != uint64(i+1) {
				t.Errorf("%d connections failed after %d replies", n, i+1)
			}
		}
		conn := acquire(t, c)
		if err := conn.Do(bounded(t), "GET", "big").Err(); !errors.Is(err, resp.ErrTooLarge) {
			t.Errorf("on a Conn: %v: want ErrTooLarge", err)
		}
		conn.Release()
		acquire(t, c).Release()
		replies, err := c.Pipeline().Do("GET", "small").Do("GET", "big").Do("GET", "small").Exec(bounded(t))
		if !errors.Is(err, resp.ErrTooLarge) || len(replies) != 3 {
			t.Fatalf("a pipeline returns %d replies, %v", len(replies), err)
		}
		wantText(t, replies[0], strings.Repeat("x", 900))
	})
}

// A reply that is not RESP fails the connection with a typed error. The client does not retry.
func TestMalformedReplies(t *testing.T) {
	for _, frame := range []string{
		"hello\r\n", "\x00\x00\x00\r\n", "$abc\r\n", "$-2\r\n", "*-5\r\n", ":12x\r\n", "$3\r\nabcdef\r\n", "#x\r\n", ",1.2.3\r\n",
		"+OK\n\r", "*2\r\n:1\r\n?\r\n", "HTTP/1.1 400 Bad Request\r\n\r\n", ":99999999999999999999999\r\n",
	} {
		t.Run(fmt.Sprintf("%q", frame), func(t *testing.T) {
			f := startFake(t, func(args []string) string {
				if args[0] == "GET" {
					return frame
				}
				return welcome(args)
			})
			c := newFakeClient(t, f, nil)
			err := c.Do(bounded(t), "GET", "k").Err()
			var pe *resp.ProtocolError
			if !errors.As(err, &pe) {
				t.Errorf("got %T %v: want a *ProtocolError", err, err)
			}
			wantConnError(t, err, true)
			wantText(t, mustDo(t, c, "PING"), "PONG")
			if n := strings.Count(strings.Join(f.Commands(), "\n"), "GET k"); n != 1 {
				t.Errorf("the command was sent %d times", n)
			}
		})
	}
}

func TestAnUnrequestedReplyFailsTheConnection(t *testing.T) {
	f := startFake(t, func(args []string) string {
		if args[0] == "GET" {
			return "+mine\r\n+of nobody\r\n"
		}
		return welcome(args)
	})
	c := newFakeClient(t, f, func(o *respool.Options) { o.MaxConnections = 1 })
	for i := range 5 {
		wantText(t, mustDo(t, c, "GET", i), "mine")
		testkit.Await(t, "one more lane fails", c.Stats, func(s respool.Stats) bool { return s.FailedLanes == uint64(i+1) })
	}
}

// Memory grows with the bytes received, never with the length in a header.
func TestClaimedLengthsTakeNoMemory(t *testing.T) {
	for _, frame := range []string{"$4611686018427387904\r\n", "*4611686018427387904\r\n", "*1\r\n*4611686018427387904\r\n:1\r\n",
		"%4611686018427387904\r\n", "=4611686018427387904\r\ntxt:", "$1000000000\r\nx", "*1000000000\r\n:1\r\n", "!1000000000\r\n"} {
		for _, limit := range []int64{0, 1 << 62} {
			f := startFake(t, func(args []string) string {
				if args[0] == "GET" {
					return frame
				}
				return welcome(args)
			})
			c := newFakeClient(t, f, func(o *respool.Options) {
				o.ReplyLimit, o.MaxConnections, o.Retries = limit, 1, respool.NoRetries
				o.StallLimit = 50 * time.Millisecond
			})
			mustDo(t, c, "PING")
			before := heap()
			err := c.Do(bounded(t), "GET", "k").Err()
			grown := int64(heap()) - int64(before)
			wantConnError(t, err, true)
			var pe *resp.ProtocolError
			var timeout interface{ Timeout() bool }
			if !errors.Is(err, resp.ErrTooLarge) && !errors.As(err, &pe) && !(errors.As(err, &timeout) && timeout.Timeout()) {
				t.Errorf("%q with limit %d: %v", frame, limit, err)
			}
			if limit == 0 && frame[0] == '$' && len(frame) > 20 && !errors.Is(err, resp.ErrTooLarge) {
				t.Errorf("%q: %v: want ErrTooLarge", frame, err)
			}
			if grown > 8<<20 {
				t.Errorf("%q with limit %d: the heap grew by %d bytes", frame, limit, grown)
			}
		}
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
