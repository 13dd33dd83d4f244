package keywatch

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/pool"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/faultnet"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
	"github.com/seed-2b0d76a6/respool/internal/wire"
	"github.com/seed-2b0d76a6/respool/resp"
)

// through returns a Watcher whose connections run through a relay.
func through(t testing.TB, relay *faultnet.Relay, cfg Config, stall time.Duration) *bench {
	cfg.BackoffCap = 20 * time.Millisecond
	return newBench(t, wire.Config{Addr: relay.Addr()}, cfg, func(c *pool.Config) {
		c.Lane.StallLimit, c.Lane.LingerLimit = stall, 100*time.Millisecond
		c.Lane.SuspectAfter = stall / 2
	})
}

func TestCutConnectionsAreReplaced(t *testing.T) {
	srv := redistest.Start(t, redistest.Config{})
	relay := faultnet.Start(t, srv.Addr())
	b := through(t, relay, Config{}, 20*time.Second)
	r := newRecorder()
	b.mustWatch(t, r, "k")
	r.more(t, "k", 0)
	for i := range 20 {
		n := b.quiet(t, r, "k")
		relay.CutAfter(int64(i)) // within the push
		srv.Do("SET", "k", "x")
		n = r.more(t, "k", n)
		relay.CutAll()
		r.more(t, "k", n)
	}
}

func TestAStalledConnectionIsReplaced(t *testing.T) {
	srv := redistest.Start(t, redistest.Config{})
	relay := faultnet.Start(t, srv.Addr())
	b := through(t, relay, Config{}, 100*time.Millisecond)
	r := newRecorder()
	b.mustWatch(t, r, "k")
	r.more(t, "k", 0)
	n := b.quiet(t, r, "k")
	relay.StallReplies()
	b.mustWatch(t, r, "other")
	b.waitConnected(t, false)
	srv.Do("SET", "k", "x")
	relay.Resume()
	r.more(t, "k", n)
	r.more(t, "other", 0)
}

func TestAPathThatSwallowsPushesIsFoundByPings(t *testing.T) {
	srv := redistest.Start(t, redistest.Config{})
	relay := faultnet.Start(t, srv.Addr())
	b := through(t, relay, Config{HealthCheck: 20 * time.Millisecond}, 100*time.Millisecond)
	r := newRecorder()
	b.mustWatch(t, r, "k")
	r.more(t, "k", 0)
	n := b.quiet(t, r, "k")
	relay.Swallow()
	srv.Do("SET", "k", "x")
	n = r.more(t, "k", n)
	srv.Do("SET", "k", "y")
	r.more(t, "k", n)
}

func TestTheStallOfAnotherConnectionCausesAPing(t *testing.T) {
	srv := redistest.Start(t, redistest.Config{})
	relay := faultnet.Start(t, srv.Addr())
	b := newBench(t, wire.Config{Addr: relay.Addr()}, Config{}, func(c *pool.Config) {
		c.Lane.SuspectAfter, c.Lane.LingerLimit = 50*time.Millisecond, 100*time.Millisecond
	})
	r := newRecorder()
	b.mustWatch(t, r, "k")
	r.more(t, "k", 0)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	l, err := b.pool.Shared(ctx)
	if err != nil {
		t.Fatal(err)
	}
	n := b.quiet(t, r, "k")
	relay.Swallow()
	srv.Do("SET", "k", "x")
	b.mu.Lock()
	watched := b.session.lane
	b.mu.Unlock()
	testkit.Eventually(t, "the lane has noted when it heard the last byte", func() bool { return time.Since(watched.HeardAt()) > time.Millisecond })
	l.Fail(&lane.StallError{Silent: time.Nanosecond})
	n = r.more(t, "k", n)
	var stall *lane.StallError
	if err := b.Stats().LastError; !errors.As(err, &stall) || stall.Reason != lane.NoPong {
		t.Errorf("the connection was lost because of %v: want no pong", err)
	}
	srv.Do("SET", "k", "y")
	r.more(t, "k", n)
}

func TestTheLastResortDoesNotNeedAConnection(t *testing.T) {
	srv := redistest.Start(t, redistest.Config{})
	relay := faultnet.Start(t, srv.Addr())
	relay.Blackhole(true)
	b := through(t, relay, Config{LastResort: 50 * time.Millisecond}, 20*time.Second)
	r := newRecorder()
	x := b.mustWatch(t, r, "k")
	r.more(t, "k", 5)
	if b.Stats().Connected {
		t.Error("there is a connection through a black hole")
	}
	x.Stop()
	relay.Blackhole(false)
	relay.CutAll()
}

// list is a list of the server with callers that wait for elements.
type list struct {
	b    *bench
	lane *lane.Lane
}

// signal is a Subscriber that wakes one goroutine.
type signal chan error

func (s signal) Notify(_ string, err error) {
	select {
	case s <- err:
	default:
	}
}

func (l *list) do(ctx context.Context, args ...any) (text string, ok bool, err error) {
	frame, err := l.lane.Do(ctx, args, lane.Options{})
	if err != nil {
		return "", false, err
	}
	v, _, err := resp.Decode(frame)
	return string(v.Str), !v.Null, err
}

// pop waits until a list has an element and removes it.
func (l *list) pop(ctx context.Context, key string) (string, error) {
	if text, ok, err := l.do(ctx, "LPOP", key); ok || err != nil {
		return text, err
	}
	wake := make(signal, 1)
	x, err := l.b.Watch(key, wake)
	if err != nil {
		return "", err
	}
	defer x.Stop()
	for {
		select {
		case err := <-wake:
			if err != nil {
				return "", err
			}
		case <-ctx.Done():
			return "", ctx.Err()
		}
		if text, ok, err := l.do(ctx, "LPOP", key); ok || err != nil {
			return text, err
		}
	}
}

// TestNoWaiterMissesAnElement pushes and pops on a few lists while connections break. The last resort is off.
func TestNoWaiterMissesAnElement(t *testing.T) {
	srv := redistest.Start(t, redistest.Config{})
	relay := faultnet.Start(t, srv.Addr())
	b := through(t, relay, Config{Linger: time.Millisecond}, 20*time.Second)
	direct := newBench(t, wire.Config{Addr: srv.Addr()}, Config{}, nil)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	commands, err := direct.pool.Shared(ctx)
	if err != nil {
		t.Fatal(err)
	}
	commands.Unreserve()
	l := &list{b: b, lane: commands}
	const keys, callers, each = 5, 40, 50
	var mu sync.Mutex
	got := map[string]bool{}
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			for range each {
				text, err := l.pop(ctx, fmt.Sprint("list", i%keys))
				if err != nil {
					t.Errorf("pop: %v", err)
					return
				}
				mu.Lock()
				got[text] = true
				mu.Unlock()
			}
		})
	}
	for i := range callers * each {
		if _, _, err := l.do(ctx, "RPUSH", fmt.Sprint("list", i%keys), i); err != nil {
			t.Fatal(err)
		}
		switch rand.IntN(60) {
		case 0:
			relay.CutAll()
		case 1:
			relay.CutAfter(rand.Int64N(200))
		case 2:
			b.Renew()
		}
	}
	wg.Wait()
	if len(got) != callers*each {
		t.Errorf("%d elements were popped: want %d", len(got), callers*each)
	}
	if s := b.Stats(); s.Watches != 0 || s.Keys != 0 {
		t.Errorf("%d watches of %d keys are left", s.Watches, s.Keys)
	}
}

func TestAClosedPoolEndsAllWatches(t *testing.T) {
	srv := redistest.Start(t, redistest.Config{})
	b := start(t, srv, Config{})
	r := newRecorder()
	b.mustWatch(t, r, "k")
	r.more(t, "k", 0)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = b.pool.Close(ctx)
	b.waitEnd(t, r, "k", pool.ErrClosed)
	if _, err := b.Watch("k", r); !errors.Is(err, pool.ErrClosed) {
		t.Errorf("Watch after the pool was closed: %v: want %v", err, pool.ErrClosed)
	}
}
