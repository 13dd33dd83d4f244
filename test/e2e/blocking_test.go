package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// oftenAwake makes a server end blocking commands within 2 ms after their timeouts, not 100 ms.
var oftenAwake = []string{"--hz", "500"}

// blocked waits until the server counts n blocked clients.
func blocked(t *testing.T, s *redistest.Server, n int) {
	t.Helper()
	testkit.Await(t, "the number of blocked clients", func() string { return s.Info("clients")["blocked_clients"] }, testkit.Is(fmt.Sprint(n)))
}

// parked waits until n blocking commands of c wait without a connection each, and their keys are watched.
func parked(t *testing.T, c *respool.Client, n int) {
	t.Helper()
	testkit.Await(t, "the number of waits", func() respool.BlockingStats { return c.Stats().Blocking },
		func(s respool.BlockingStats) bool { return s.Waiting == n && (n == 0 || s.Watching) })
}

// dedicated makes each blocking command use a connection of its own.
func dedicated(o *respool.Options) { o.Blocking = respool.BlockingDedicated }

// inBothModes runs a test with shared and with dedicated blocking. wait waits until n commands block.
func inBothModes(t *testing.T, s *redistest.Server, protocol int, test func(t *testing.T, c *respool.Client, wait func(n int))) {
	for _, mode := range []respool.Blocking{respool.BlockingShared, respool.BlockingDedicated} {
		t.Run(mode.String(), func(t *testing.T) {
			s.Do("FLUSHALL")
			c := newClient(t, s, func(o *respool.Options) { o.Protocol, o.Blocking = protocol, mode })
			test(t, c, func(n int) {
				t.Helper()
				if mode == respool.BlockingDedicated {
					blocked(t, s, n)
				} else {
					parked(t, c, n)
				}
			})
		})
	}
}

func wantPopped(t *testing.T, r respool.Reply, key, element string) {
	t.Helper()
	if texts, err := r.Texts(); err != nil || len(texts) != 2 || texts[0] != key || texts[1] != element {
		t.Errorf("popped %q, %v: want %q from %q", texts, err, element, key)
	}
}

func TestBlockedCommandGetsWhatIsPushed(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	inBothProtocols(t, func(t *testing.T, protocol int) {
		inBothModes(t, s, protocol, func(t *testing.T, c *respool.Client, wait func(int)) {
			popped := make(chan respool.Reply, 1)
			go func() { popped <- c.Do(context.Background(), "BLPOP", "q", 0) }()
			wait(1)
			mustDo(t, c, "RPUSH", "q", "one", "two")
			wantPopped(t, <-popped, "q", "one")
			wantPopped(t, mustDo(t, c, "BRPOP", "other", "q", 1), "q", "two")
			if st := c.Stats(); st.Dials > 2 || st.Dedicated != 0 {
				t.Errorf("%v, %d dials", st, st.Dials)
			}
		})
	})
}

// The client adds the timeout of a blocking command to SocketTimeout.
func TestBlockingOutlastsTheSocketTimeout(t *testing.T) {
	s := redistest.Start(t, redistest.Config{Args: oftenAwake})
	c := newClient(t, s, func(o *respool.Options) {
		o.SocketTimeout, o.StallLimit = 200*time.Millisecond, 250*time.Millisecond
	})
	ctx := bounded(t)
	mustDo(t, c, "XADD", "s", "1-1", "f", "v")
	mustDo(t, c, "XGROUP", "CREATE", "s", "g", "$")
	var wg sync.WaitGroup
	all := [][]any{
		{"BLPOP", "q", 0.5}, {"BLPOP", "q", "0.5"}, {"BLMOVE", "q", "p", "LEFT", "LEFT", 0.5}, {"BZPOPMIN", "z", 0.5},
		{"XREAD", "BLOCK", 500, "STREAMS", "s", "$"},
		{"XREADGROUP", "GROUP", "g", "me", "BLOCK", "500", "STREAMS", "s", ">"},
	}
	if blmpop := []any{"BLMPOP", 0.5, 1, "q", "LEFT"}; s.Has("BLMPOP") {
		all = append(all, blmpop)
	} else {
		wantServerError(t, c.Do(ctx, blmpop...).Err(), "ERR")
	}
	for _, args := range all {
		wg.Go(func() {
			began := time.Now()
			r := c.Do(ctx, args...)
			if !r.IsNil() || r.Err() != nil || time.Since(began) < 400*time.Millisecond {
				t.Errorf("%v after %v: %v: want a null after its own timeout", args, time.Since(began), r)
			}
		})
	}
	wg.Wait()
	conn := acquire(t, c)
	if n, err := conn.Do(ctx, "WAIT", 1, 500).Int64(); n != 0 || err != nil {
		t.Errorf("WAIT returns %d, %v", n, err)
	}
	if r := conn.Do(ctx, "BLPOP", "q", 0.5); !r.IsNil() {
		t.Errorf("BLPOP on a Conn returns %v", r)
	}
	wantKept(t, c, conn)
}

// The longest timeouts that the server accepts do not overflow.
func TestBlockingForCenturies(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	c := newClient(t, s, func(o *respool.Options) { o.SocketTimeout = 50 * time.Millisecond })
	for _, args := range [][]any{
		{"BLPOP", "q", 9_000_000_000}, {"BLPOP", "q", 100_000_000_000}, {"BLPOP", "q", "9223370000000000"},
		{"BLMOVE", "q", "p", "LEFT", "LEFT", 9_223_372_036.0},
	} {
		popped := make(chan respool.Reply, 1)
		go func() { popped <- c.Do(context.Background(), args...) }()
		began := time.Now()
		testkit.Eventually(t, "six socket timeouts pass", func() bool {
			select {
			case r := <-popped:
				t.Errorf("%v ended after %v: %v", args, time.Since(began), r)
				return true
			default:
				return time.Since(began) > 300*time.Millisecond
			}
		})
		mustDo(t, c, "RPUSH", "q", "e")
		if !t.Failed() {
			if err := (<-popped).Err(); err != nil {
				t.Error(err)
			}
		}
		mustDo(t, c, "DEL", "q")
	}
}

// A caller that leaves a blocking command consumes no element: a dedicated connection closes before the next element
// arrives.
func TestLeavingABlockedCommandLosesNoElement(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	c := newClient(t, s, func(o *respool.Options) {
		dedicated(o)
		o.MaxConnections = 4
	})
	for range 20 {
		ctx, cancel := context.WithCancel(context.Background())
		popped := make(chan error, 1)
		go func() { popped <- c.Do(ctx, "BLPOP", "q", 0).Err() }()
		blocked(t, s, 1)
		cancel()
		if err := <-popped; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v: want the end of the ctx", err)
		} else {
			wantConnError(t, err, true)
		}
		blocked(t, s, 0)
		mustDo(t, c, "RPUSH", "q", "element")
		wantPopped(t, mustDo(t, c, "BLPOP", "q", 1), "q", "element")
	}
}

func TestLeavingABlockedCommandOnAConnClosesIt(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	c := newClient(t, s, nil)
	conn := acquire(t, c)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if err := conn.Do(ctx, "BLPOP", "q", 0).Err(); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v: want the end of the ctx", err)
	}
	conn.Release()
	blocked(t, s, 0)
	mustDo(t, c, "RPUSH", "q", "element")
	wantPopped(t, mustDo(t, c, "BLPOP", "q", 1), "q", "element")
}

func TestManyBlockedCommandsWaitInLine(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	c := newClient(t, s, func(o *respool.Options) {
		dedicated(o)
		o.MaxConnections = 4
	})
	ctx := bounded(t)
	const n = 50
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			if err := c.Do(ctx, "BLPOP", "q", 0).Err(); err != nil {
				t.Error(err)
			}
		})
	}
	blocked(t, s, 3)
	for i := range n {
		mustDo(t, c, "RPUSH", "q", i) // shares the lane, which stays open
	}
	wg.Wait()
	if n, err := mustDo(t, c, "LLEN", "q").Int64(); n != 0 || err != nil {
		t.Errorf("%d elements are left, %v", n, err)
	}
	if n := s.ClientCount(); n > 4 {
		t.Errorf("the server counts %d connections", n)
	}
}

func TestBlockingCommandsWithMistakes(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	c := newClient(t, s, nil)
	ctx := bounded(t)
	wantServerError(t, c.Do(ctx, "BLPOP", "q", "soon").Err(), "ERR")
	wantServerError(t, c.Do(ctx, "BLPOP", "q", -1).Err(), "ERR")
	wantServerError(t, c.Do(ctx, "BLPOP").Err(), "ERR")
	mustDo(t, c, "SET", "q", "text")
	wantServerError(t, c.Do(ctx, "BLPOP", "q", 0).Err(), "WRONGTYPE")
	if st := c.Stats(); st.Dials != 1 && st.Dials != 2 {
		t.Errorf("error replies cost connections: %d dials", st.Dials)
	}
}

// A server that stalls also ends a blocking command.
func TestBlockingCommandTimesOutWithItsServer(t *testing.T) {
	s := redistest.Start(t, redistest.Config{Args: oftenAwake})
	c := newClient(t, s, func(o *respool.Options) {
		o.SocketTimeout, o.LingerLimit = 200*time.Millisecond, 50*time.Millisecond
	})
	mustDo(t, c, "BLPOP", "q", 0.01)
	s.Pause()
	err := c.Do(bounded(t), "BLPOP", "q", 0.01).Err()
	s.Resume()
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v: want a timeout", err)
	}
	wantConnError(t, err, true)
}

func TestStreamsBlockOnlyWithBlock(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	inBoth(t, s, func(t *testing.T, c *respool.Client, protocol int) {
		mustDo(t, c, "XADD", "s", "1-1", "field", "value")
		read := mustDo(t, c, "XREAD", "COUNT", 10, "STREAMS", "s", "0")
		m, err := read.Array()
		if protocol == 3 {
			if len(m) != 2 || err != nil {
				t.Errorf("XREAD returns %v, %v", read, err)
			}
		} else if len(m) != 1 || err != nil {
			t.Errorf("XREAD returns %v, %v", read, err)
		}
		if r := mustDo(t, c, "XREAD", "STREAMS", "s", "$"); !r.IsNil() {
			t.Errorf("XREAD of nothing returns %v", r)
		}
		if n := c.Stats().Dials; n != 1 {
			t.Errorf("XREAD without BLOCK opened a connection: %d dials", n)
		}
		got := make(chan respool.Reply, 1)
		go func() { got <- c.Do(context.Background(), "XREAD", "BLOCK", 0, "STREAMS", "s", "$") }()
		parked(t, c, 1)
		mustDo(t, c, "XADD", "s", "2-1", "field", "value")
		if r := <-got; r.IsNil() || r.Err() != nil {
			t.Errorf("XREAD BLOCK returns %v", r)
		}
		if n := c.Stats().Dials; n != 2 {
			t.Errorf("%d dials: want 2", n)
		}
	})
}

func TestWaitOnAConn(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	c := newClient(t, s, nil)
	ctx := bounded(t)
	conn := acquire(t, c)
	if err := conn.Do(ctx, "SET", "k", "v").Err(); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Do(ctx, "WAIT", 0, 0).Int64(); n != 0 || err != nil {
		t.Errorf("WAIT returns %d, %v", n, err)
	}
	wantKept(t, c, conn)
}

// The client asks the server about commands that it does not know.
func TestCommandsThatTheTableLacks(t *testing.T) {
	s := redistest.Start(t, redistest.Config{Args: []string{"--rename-command", "GET", "MYGET", "--rename-command", "BLPOP", "MYBLPOP",
		"--rename-command", "SELECT", "MYSELECT", "--rename-command", "SET", "MYSET"}})
	inBoth(t, s, func(t *testing.T, c *respool.Client, protocol int) {
		ctx := bounded(t)
		mustDo(t, c, "MYSET", "k", "v")
		for range 5 {
			wantText(t, mustDo(t, c, "MYGET", "k"), "v")
			wantText(t, mustDo(t, c, "myget", "k"), "v")
		}
		if n := c.Stats().Dials; n != 1 {
			t.Errorf("known to the server, they share: %d dials", n)
		}

		popped := make(chan respool.Reply, 1)
		go func() { popped <- c.Do(ctx, "MYBLPOP", "q", 0) }()
		blocked(t, s, 1)
		mustDo(t, c, "RPUSH", "q", "e")
		wantPopped(t, <-popped, "q", "e")
		if n := c.Stats().Dials; n != 2 {
			t.Errorf("one that blocks has a connection of its own: %d dials", n)
		}

		for range 5 {
			mustDo(t, c, "MYSELECT", 1)
			wantText(t, mustDo(t, c, "MYGET", "k"), "v") // still in database 0
		}
		if n := c.Stats().Dials; n != 2 {
			t.Errorf("a connection in another db is restored: %d dials", n)
		}

		before := c.Stats().Dials
		for range 5 {
			err := c.Do(ctx, "NOSUCH", "x").Err()
			wantServerError(t, err, "ERR")
			wantWords(t, err, "unknown command", "NOSUCH")
		}
		if n := c.Stats().Dials; n > before+1 {
			t.Errorf("unknown commands cost connections: %d dials, %d before", n, before)
		}
	})
	if n := calls(s, "command"); n != 2 && s.Version().Since(7, 0) { // 6.2 lists renamed commands by their old names
		t.Errorf("%d COMMAND queries: want one for each client", n)
	}
}
