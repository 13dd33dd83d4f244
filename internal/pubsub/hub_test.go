package pubsub

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/pool"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
	"github.com/seed-2b0d76a6/respool/internal/wire"
	"github.com/seed-2b0d76a6/respool/resp"
)

func TestAMessageReachesEverySubscriptionThatHasItsChannel(t *testing.T) {
	eachProtocol(t, redistest.Config{}, setup{}, func(t *testing.T, srv *redistest.Server, h *Hub) {
		both := mustSubscribe(t, h, Channel, "a", "b", "a")
		one := mustSubscribe(t, h, Channel, "b")
		srv.Do("PUBLISH", "a", "1")
		srv.Do("PUBLISH", "b", "\x00\r\n")
		srv.Do("PUBLISH", "b", "")
		wantMessages(t, both, "a 1", "b \x00\r\n", "b ")
		wantMessages(t, one, "b \x00\r\n", "b ")
	})
}

func TestAMessageIsDeliveredOncePerMatchingPattern(t *testing.T) {
	eachProtocol(t, redistest.Config{}, setup{}, func(t *testing.T, srv *redistest.Server, h *Hub) {
		patterns := mustSubscribe(t, h, Pattern, "n.*", "n.?", "other.*")
		channel := mustSubscribe(t, h, Channel, "n.1")
		srv.Do("PUBLISH", "n.1", "x")
		srv.Do("PUBLISH", "n.22", "y")
		got := map[string]int{}
		for range 3 {
			got[text(mustReceive(t, patterns))]++
		}
		if got["n.* n.1 x"] != 1 || got["n.? n.1 x"] != 1 || got["n.* n.22 y"] != 1 {
			t.Errorf("the patterns received %v", got)
		}
		wantMessages(t, channel, "n.1 x")
	})
}

func TestShardChannelsAreApartFromChannels(t *testing.T) {
	eachProtocol(t, redistest.Config{}, setup{}, func(t *testing.T, srv *redistest.Server, h *Hub) {
		if !srv.Has("SSUBSCRIBE") {
			if _, err := h.Subscribe(testContext(t), Shard, []string{"s"}); !errors.Is(err, &resp.ServerError{Code: "ERR"}) {
				t.Errorf("Subscribe where there are no shards: %v: want the server's error", err)
			}
			return
		}
		shard := mustSubscribe(t, h, Shard, "s", "t")
		channel := mustSubscribe(t, h, Channel, "s")
		srv.Do("PUBLISH", "s", "plain")
		srv.Do("SPUBLISH", "s", "sharded")
		srv.Do("SPUBLISH", "t", "too")
		wantMessages(t, shard, "s sharded", "t too")
		wantMessages(t, channel, "s plain")
		if err := shard.Remove("s"); err != nil {
			t.Fatal(err)
		}
		wantCount(t, srv, "SHARDNUMSUB", "s", 0)
		wantCount(t, srv, "SHARDNUMSUB", "t", 1)
	})
}

func TestManySubscriptionsCostOneSocket(t *testing.T) {
	eachProtocol(t, redistest.Config{}, setup{}, func(t *testing.T, srv *redistest.Server, h *Hub) {
		const n = 500
		watch := srv.WatchClients()
		subs := make([]*Subscription, n)
		var wg sync.WaitGroup
		for i := range subs {
			wg.Go(func() {
				s, err := h.Subscribe(testContext(t), Channel, []string{fmt.Sprint("own", i), "all"})
				if err != nil {
					t.Errorf("Subscribe: %v", err)
				}
				subs[i] = s
			})
		}
		wg.Wait()
		if t.Failed() {
			t.FailNow()
		}
		if got := srv.ClientCount(); got != 1 {
			t.Errorf("the server counts %d connections: want 1", got)
		}
		wantCount(t, srv, "NUMSUB", "all", 1)
		for i := range subs {
			srv.Do("PUBLISH", fmt.Sprint("own", i), fmt.Sprint(i))
		}
		srv.Do("PUBLISH", "all", "end")
		for i, s := range subs {
			wantMessages(t, s, fmt.Sprintf("own%d %d", i, i), "all end")
		}
		for _, s := range subs {
			wg.Go(func() { _ = s.Close() })
		}
		wg.Wait()
		srv.WaitClients(t, 0, patience)
		if peak := watch.Stop(); peak > 1 {
			t.Errorf("the server counted up to %d connections: want 1", peak)
		}
	})
}

func TestTheServerIsToldOfTheFirstAndTheLastSubscriber(t *testing.T) {
	eachProtocol(t, redistest.Config{}, setup{}, func(t *testing.T, srv *redistest.Server, h *Hub) {
		first := mustSubscribe(t, h, Channel, "c", "d")
		second := mustSubscribe(t, h, Channel, "c")
		pattern := mustSubscribe(t, h, Pattern, "p*", "q*")
		wantCount(t, srv, "NUMSUB", "c", 1)
		testkit.Await(t, "the number of patterns", func() string { return srv.Do("PUBSUB", "NUMPAT") }, testkit.Is("2"))

		if err := first.Remove("c", "unknown"); err != nil {
			t.Fatal(err)
		}
		srv.Do("PUBLISH", "c", "x")
		srv.Do("PUBLISH", "d", "y")
		wantMessages(t, second, "c x")
		wantMessages(t, first, "d y")
		if err := second.Close(); err != nil {
			t.Fatal(err)
		}
		wantCount(t, srv, "NUMSUB", "c", 0)
		wantCount(t, srv, "NUMSUB", "d", 1)
		if err := pattern.Remove("p*"); err != nil {
			t.Fatal(err)
		}
		testkit.Await(t, "the number of patterns", func() string { return srv.Do("PUBSUB", "NUMPAT") }, testkit.Is("1"))

		if err := second.Close(); err != nil {
			t.Errorf("second Close: %v", err)
		}
		_ = first.Close()
		if got := srv.ClientCount(); got != 1 {
			t.Errorf("the server counts %d connections with a subscription left: want 1", got)
		}
		_ = pattern.Close()
		srv.WaitClients(t, 0, patience)
	})
}

func TestAddWidensASubscription(t *testing.T) {
	eachProtocol(t, redistest.Config{}, setup{}, func(t *testing.T, srv *redistest.Server, h *Hub) {
		s := mustSubscribe(t, h, Channel, "a")
		if err := s.Add(testContext(t), "b", "a"); err != nil {
			t.Fatal(err)
		}
		srv.Do("PUBLISH", "b", "1")
		srv.Do("PUBLISH", "a", "2")
		wantMessages(t, s, "b 1", "a 2")
		// Without any name it stays open, and comes back on a new connection.
		if err := s.Remove("a", "b"); err != nil {
			t.Fatal(err)
		}
		srv.WaitClients(t, 0, patience)
		if err := s.Add(testContext(t), "a"); err != nil {
			t.Fatal(err)
		}
		srv.Do("PUBLISH", "a", "3")
		wantMessages(t, s, "a 3")
	})
}

func TestManyNamesInOneCall(t *testing.T) {
	srv, h := start(t, setup{})
	names := make([]string, 3*batch+1)
	for i := range names {
		names[i] = fmt.Sprint("n", i)
	}
	s := mustSubscribe(t, h, Channel, names...)
	last := names[len(names)-1]
	srv.Do("PUBLISH", last, "x")
	wantMessages(t, s, last+" x")
}

func TestNoNamesAreAnErrorAtOnce(t *testing.T) {
	h := New(pool.New(pool.Config{}), Config{})
	defer h.Close(context.Background())
	if _, err := h.Subscribe(context.Background(), Channel, nil); !errors.Is(err, ErrNoNames) {
		t.Errorf("Subscribe without names: %v: want ErrNoNames", err)
	}
	s := newSubscription(h, Channel)
	if err := s.Add(context.Background()); !errors.Is(err, ErrNoNames) {
		t.Errorf("Add without names: %v: want ErrNoNames", err)
	}
	if err := s.Remove(); !errors.Is(err, ErrNoNames) {
		t.Errorf("Remove without names: %v: want ErrNoNames", err)
	}
}

func isNoPerm(err error) bool { return errors.Is(err, &resp.ServerError{Code: "NOPERM"}) }

func TestARefusedChannelFailsItsOwnCallerAlone(t *testing.T) {
	users := []string{"alice on >secret ~* resetchannels &ok* +@all"}
	eachProtocol(t, redistest.Config{Users: users}, setup{user: "alice", password: "secret"}, func(t *testing.T, srv *redistest.Server, h *Hub) {
		kept := mustSubscribe(t, h, Channel, "ok")

		// Many at a time, so that commands carry names of several callers.
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				_, err := h.Subscribe(testContext(t), Channel, []string{"ok-too", fmt.Sprint("secret", i)})
				if !isNoPerm(err) {
					t.Errorf("Subscribe to a forbidden channel: %v: want NOPERM", err)
				}
			})
			wg.Go(func() {
				s, err := h.Subscribe(testContext(t), Channel, []string{fmt.Sprint("ok", i)})
				if err != nil {
					t.Errorf("Subscribe to an allowed channel: %v", err)
					return
				}
				_ = s.Close()
			})
		}
		wg.Wait()
		wantCount(t, srv, "NUMSUB", "ok-too", 0)
		if err := kept.Add(testContext(t), "ok2", "forbidden"); !isNoPerm(err) {
			t.Errorf("Add of a forbidden channel: %v: want NOPERM", err)
		}
		wantCount(t, srv, "NUMSUB", "ok2", 0)
		srv.Do("PUBLISH", "ok2", "lost")
		srv.Do("PUBLISH", "ok", "x")
		wantMessages(t, kept, "ok x")
	})
}

func TestReceiveEndsWithItsContext(t *testing.T) {
	srv, h := start(t, setup{})
	s := mustSubscribe(t, h, Channel, "c")
	ctx, cancel := context.WithCancel(context.Background())
	errs := make(chan error)
	go func() {
		_, err := s.Receive(ctx)
		errs <- err
	}()
	cancel()
	if err := <-errs; !errors.Is(err, context.Canceled) {
		t.Errorf("Receive: %v: want context.Canceled", err)
	}
	srv.Do("PUBLISH", "c", "x")
	wantMessages(t, s, "c x")
}

func TestCloseEndsReceive(t *testing.T) {
	_, h := start(t, setup{})
	s := mustSubscribe(t, h, Channel, "c")
	errs := make(chan error)
	for range 3 {
		go func() {
			_, err := s.Receive(context.Background())
			errs <- err
		}()
	}
	_ = s.Close()
	for range 3 {
		if err := <-errs; !errors.Is(err, ErrClosed) {
			t.Errorf("Receive: %v: want ErrClosed", err)
		}
	}
	if err := s.Add(context.Background(), "d"); !errors.Is(err, ErrClosed) {
		t.Errorf("Add after Close: %v: want ErrClosed", err)
	}
	if err := s.Remove("c"); !errors.Is(err, ErrClosed) {
		t.Errorf("Remove after Close: %v: want ErrClosed", err)
	}
}

func TestSeveralReceiversShareASubscription(t *testing.T) {
	srv, h := start(t, setup{})
	s := mustSubscribe(t, h, Channel, "c")
	const n = 200
	got := make(chan string, n)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				msg, err := s.Receive(context.Background())
				if err != nil {
					return
				}
				got <- msg.Payload
			}
		})
	}
	for i := range n {
		srv.Do("PUBLISH", "c", fmt.Sprint(i))
	}
	seen := map[string]bool{}
	for range n {
		seen[<-got] = true
	}
	if len(seen) != n {
		t.Errorf("%d different messages were received: want %d", len(seen), n)
	}
	_ = s.Close()
	wg.Wait()
}

func TestClosingTheHubEndsEverySubscription(t *testing.T) {
	eachProtocol(t, redistest.Config{}, setup{}, func(t *testing.T, srv *redistest.Server, h *Hub) {
		s := mustSubscribe(t, h, Channel, "c")
		errs := make(chan error)
		go func() {
			_, err := s.Receive(context.Background())
			errs <- err
		}()
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				s, err := h.Subscribe(context.Background(), Pattern, []string{fmt.Sprint("p", i)})
				if err != nil && !errors.Is(err, pool.ErrClosed) {
					t.Errorf("Subscribe: %v: want nil or pool.ErrClosed", err)
				}
				if s != nil {
					if _, err := s.Receive(context.Background()); !errors.Is(err, pool.ErrClosed) {
						t.Errorf("Receive: %v: want pool.ErrClosed", err)
					}
				}
			})
		}
		h.Close(context.Background())
		h.Close(context.Background())
		wg.Wait()
		if err := <-errs; !errors.Is(err, pool.ErrClosed) {
			t.Errorf("Receive: %v: want pool.ErrClosed", err)
		}
		if _, err := h.Subscribe(context.Background(), Channel, []string{"c"}); !errors.Is(err, pool.ErrClosed) {
			t.Errorf("Subscribe after Close: %v: want pool.ErrClosed", err)
		}
		srv.WaitClients(t, 0, patience)
	})
}

func TestSubscribeEndsWithItsContextAndLeavesNothingBehind(t *testing.T) {
	eachProtocol(t, redistest.Config{}, setup{}, func(t *testing.T, srv *redistest.Server, h *Hub) {
		kept := mustSubscribe(t, h, Channel, "c")
		srv.Pause()
		ctx, cancel := context.WithCancel(context.Background())
		errs := make(chan error)
		go func() { errs <- kept.Add(ctx, "d") }()
		other := make(chan error)
		go func() {
			_, err := h.Subscribe(context.Background(), Channel, []string{"e"})
			other <- err
		}()
		cancel()
		if err := <-errs; !errors.Is(err, context.Canceled) {
			t.Errorf("Add: %v: want context.Canceled", err)
		}
		srv.Resume()
		if err := <-other; err != nil {
			t.Errorf("Subscribe: %v", err)
		}
		wantCount(t, srv, "NUMSUB", "d", 0)
		srv.Do("PUBLISH", "d", "no")
		srv.Do("PUBLISH", "c", "yes")
		wantMessages(t, kept, "c yes")
	})
}

func TestSubscribeEndsWithTheReplyTimeout(t *testing.T) {
	srv, h := start(t, setup{hub: Config{ReplyTimeout: 50 * time.Millisecond}})
	kept := mustSubscribe(t, h, Channel, "c")
	srv.Pause()
	err := kept.Add(context.Background(), "d")
	srv.Resume()
	var we *wire.Error
	if !errors.As(err, &we) || !we.Timeout() || !we.Sent {
		t.Errorf("Add: %v: want a timeout of a sent command", err)
	}
	wantCount(t, srv, "NUMSUB", "d", 0)
}

func TestSubscribeFailsFastWhileTheNodeIsDown(t *testing.T) {
	srv, h := start(t, setup{})
	kept := mustSubscribe(t, h, Channel, "c")
	srv.Kill()
	for range 20 {
		_, err := h.Subscribe(context.Background(), Channel, []string{"d"})
		// The kernel may still accept a connection while the server dies.
		if err == nil || !strings.Contains(err.Error(), "dial "+srv.Addr()) && !strings.Contains(err.Error(), "handshake with "+srv.Addr()) {
			t.Errorf("Subscribe: %v: want the dial's error", err)
		}
	}
	srv.Restart()
	wantCount(t, srv, "NUMSUB", "c", 1)
	srv.Do("PUBLISH", "c", "x")
	wantMessages(t, kept, "gap(reconnected, -1)", "c x")
	wantCount(t, srv, "NUMSUB", "d", 0)
}

func TestTheFirstSubscriptionFailsFastWhileTheNodeIsDown(t *testing.T) {
	srv, h := start(t, setup{})
	srv.Kill()
	if _, err := h.Subscribe(context.Background(), Channel, []string{"c"}); err == nil {
		t.Error("Subscribe to a node that is down succeeded")
	}
	srv.Restart()
	// The pool may still be backing off. Then it fails at once.
	var s *Subscription
	testkit.Eventually(t, "a subscription after the restart", func() bool {
		var err error
		s, err = h.Subscribe(testContext(t), Channel, []string{"c"})
		return err == nil
	})
	srv.Do("PUBLISH", "c", "x")
	wantMessages(t, s, "c x")
}

func TestAClosedPoolEndsSubscriptions(t *testing.T) {
	_, h := start(t, setup{})
	s := mustSubscribe(t, h, Channel, "c")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = h.source.(*pool.Pool).Close(ctx)
	for {
		if _, err := s.Receive(testContext(t)); err != nil {
			if !errors.Is(err, pool.ErrClosed) {
				t.Errorf("Receive: %v: want pool.ErrClosed", err)
			}
			return
		}
	}
}

func BenchmarkDeliver(b *testing.B) {
	h := New(pool.New(pool.Config{}), Config{Buffer: 1})
	defer h.Close(context.Background())
	s := fakeSession(h)
	sub := newSubscription(h, Channel)
	h.joinLocked(sub, "c", &call{done: make(chan struct{})})
	msg := []byte(frame("message", "c", strings.Repeat("x", 64)))
	b.ReportAllocs()
	for b.Loop() {
		h.receive(s, msg)
		if _, err := sub.Receive(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
}
