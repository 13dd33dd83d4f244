package keywatch

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/pool"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
	"github.com/seed-2b0d76a6/respool/internal/wire"
)

// owner is the owner of a Set.
type owner struct {
	*recorder
	polling atomic.Bool
}

func (b *bench) set(t testing.TB) (*Set, *owner) {
	o := &owner{recorder: newRecorder()}
	s := NewSet(b.Watcher, SetConfig{
		Changed: func(key string) { o.Notify(key, nil) },
		Refused: func(key string, err error) { o.Notify(key, err) },
		Polling: o.polling.Load,
	})
	t.Cleanup(s.Close)
	return s, o
}

// A key that is dropped and added again causes no EXISTS, and its changes in between are reported.
func TestADroppedKeyStaysWatchedForAWhile(t *testing.T) {
	srv := redistest.Start(t, redistest.Config{})
	b := start(t, srv, Config{})
	s, o := b.set(t)
	s.Add("a")
	o.more(t, "a", 0)
	n := b.quiet(t, o.recorder, "a")
	before := b.Stats().Exists
	for range 100 {
		s.Drop("a")
		s.Add("a")
	}
	if now := b.Stats(); now.Exists != before || now.Keys != 1 {
		t.Errorf("%d EXISTS more, %d keys", now.Exists-before, now.Keys)
	}
	s.Drop("a")
	srv.Do("RPUSH", "a", "x")
	o.more(t, "a", n)
	testkit.Await(t, "the watched keys", func() int { return b.Stats().Keys }, testkit.Is(0))
	s.Add("a")
	o.more(t, "a", b.quiet(t, o.recorder, "a")-1)
	if st := b.Stats(); st.Keys != 1 || st.Watches != 1 {
		t.Errorf("%d keys, %d watches", st.Keys, st.Watches)
	}
}

// A connection that serves only dropped keys is there for others who wait.
func TestDroppedKeysDoNotHoldAConnectionThatOthersWaitFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var contended atomic.Bool
		s := NewSet(New(nil, Config{}), SetConfig{
			Changed: func(string) {}, Refused: func(string, error) {}, Contended: contended.Load, Polling: func() bool { return true },
		})
		defer s.Close()
		left := func() int {
			s.mu.Lock()
			defer s.mu.Unlock()
			return len(s.keys)
		}
		s.Add("a")
		s.Add("b")
		s.Drop("a")
		contended.Store(true)
		time.Sleep(keepFor / 2)
		if n := left(); n != 2 {
			t.Errorf("%d keys while one is wanted: want 2", n)
		}
		contended.Store(false)
		s.Add("a")
		s.Drop("a")
		s.Drop("b")
		time.Sleep(3 * pollPeriod)
		if n := left(); n != 2 {
			t.Errorf("%d keys shortly after the drop: want 2", n)
		}
		contended.Store(true)
		time.Sleep(2 * pollPeriod)
		if n := left(); n != 0 {
			t.Errorf("%d keys while others wait: want none", n)
		}
	})
}

// The Set keeps few dropped keys.
func TestTheSetForgetsTheOldestDroppedKeys(t *testing.T) {
	srv := redistest.Start(t, redistest.Config{})
	b := start(t, srv, Config{})
	s, _ := b.set(t)
	for i := range 2 * mostIdle {
		key := fmt.Sprint(i)
		s.Add(key)
		s.Drop(key)
		if n := b.Stats().Watches; n > mostIdle+1 {
			t.Fatalf("%d watches after %d keys", n, i)
		}
	}
	testkit.Await(t, "the watches", func() int { return b.Stats().Watches }, testkit.Is(0))
}

// Without a connection, and while it polls, the Set reports each key again and again.
func TestTheSetPollsWithoutAConnection(t *testing.T) {
	srv := redistest.Start(t, redistest.Config{})
	t.Run("no connection", func(t *testing.T) {
		b := newBench(t, wire.Config{Addr: srv.Addr()}, Config{}, func(c *pool.Config) {
			c.Dial = func(context.Context, context.Context, pool.Identity) (*wire.Conn, error) {
				return nil, errors.New("no")
			}
		})
		s, o := b.set(t)
		pollsAll(t, s, o)
	})
	t.Run("polling", func(t *testing.T) {
		b := start(t, srv, Config{})
		s, o := b.set(t)
		s.Add("before")
		o.more(t, "before", 0)
		o.polling.Store(true)
		s.Again()
		if n := b.Stats().Watches; n != 0 {
			t.Errorf("%d watches while it polls", n)
		}
		pollsAll(t, s, o)
		o.more(t, "before", o.of("before")+1)
		o.polling.Store(false)
		s.Again()
		testkit.Await(t, "the watches", func() int { return b.Stats().Watches }, testkit.Is(2*pollBatch+2))
	})
}

func pollsAll(t *testing.T, s *Set, o *owner) {
	t.Helper()
	const n = 2*pollBatch + 1
	for i := range n {
		s.Add(fmt.Sprint("k", i))
	}
	for i := range n {
		o.more(t, fmt.Sprint("k", i), 1)
	}
}

func TestTheSetReportsRefusals(t *testing.T) {
	srv := redistest.Start(t, redistest.Config{})
	srv.Do("ACL", "SETUSER", "default", "-client|tracking")
	b := start(t, srv, Config{})
	s, o := b.set(t)
	s.Add("a")
	refused := func(key string) {
		t.Helper()
		err := testkit.Await(t, "the refusal", func() error { return o.end(key) }, func(err error) bool { return err != nil })
		if _, ok := errors.AsType[*RefusedError](err); !ok {
			t.Errorf("%s ended with %v", key, err)
		}
	}
	refused("a")
	s.Add("b")
	refused("b")
	if err := b.Refusal(); err == nil || err.Op != "CLIENT TRACKING" {
		t.Errorf("the refusal is %v", err)
	}
}

// The Set and the Watcher agree after any calls from several goroutines.
func TestASetBearsConcurrentCalls(t *testing.T) {
	srv := redistest.Start(t, redistest.Config{})
	b := start(t, srv, Config{})
	s, o := b.set(t)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for range 3000 {
				key := fmt.Sprint(g, "-", rand.IntN(20))
				s.Add(key)
				s.Drop(key)
			}
			s.Add(fmt.Sprint(g, "-kept"))
		})
	}
	wg.Go(func() {
		for i := range 200 {
			o.polling.Store(i%2 == 0)
			s.Again()
		}
	})
	wg.Wait()
	o.polling.Store(false)
	s.Again()
	testkit.Await(t, "the watches", func() int { return b.Stats().Watches }, testkit.Is(4))
	for g := range 4 {
		key := fmt.Sprint(g, "-kept")
		o.more(t, key, 0)
		n := b.quiet(t, o.recorder, key)
		srv.Do("RPUSH", key, "x")
		o.more(t, key, n)
	}
}

// A slow call of Again does not undo a later one.
func TestAgainAppliesTheLatestChange(t *testing.T) {
	srv := redistest.Start(t, redistest.Config{})
	b := start(t, srv, Config{})
	s, o := b.set(t)
	var inside atomic.Bool
	slow, enter, leave := s.cfg.Polling, make(chan struct{}), make(chan struct{})
	s.cfg.Polling = func() bool {
		polls := slow()
		if inside.CompareAndSwap(true, false) {
			close(enter)
			<-leave
		}
		return polls
	}
	s.Add("a")
	o.more(t, "a", 0)
	o.polling.Store(true)
	inside.Store(true)
	var wg sync.WaitGroup
	wg.Go(s.Again)
	<-enter
	o.polling.Store(false)
	wg.Go(s.Again)
	time.Sleep(10 * time.Millisecond)
	close(leave)
	wg.Wait()
	if n := b.Stats().Watches; n != 1 {
		t.Errorf("%d watches: want 1", n)
	}
}
