package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// pubsubPatience limits waits. Only a failing test waits that long.
const pubsubPatience = 30 * time.Second

func pubsubContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), pubsubPatience)
	t.Cleanup(cancel)
	return ctx
}

func pubsubClient(t *testing.T, s *redistest.Server, change func(*respool.Options)) *respool.Client {
	t.Helper()
	opt := respool.Options{Addr: s.Addr()}
	if change != nil {
		change(&opt)
	}
	c, err := respool.New(opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(pubsubContext(t)) })
	return c
}

func wantMessage(t *testing.T, sub *respool.Subscription, want respool.Message) {
	t.Helper()
	got, err := sub.Receive(pubsubContext(t))
	if err != nil {
		t.Fatalf("Receive: %v", err)
	}
	if (got.Gap == nil) != (want.Gap == nil) || got.Gap != nil && *got.Gap != *want.Gap {
		t.Fatalf("received the gap %v: want %v", got.Gap, want.Gap)
	}
	got.Gap, want.Gap = nil, nil
	if got != want {
		t.Fatalf("received %+v: want %+v", got, want)
	}
}

func TestSubscriptionsOfAClientShareOneSocket(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	for _, protocol := range []int{2, 3} {
		t.Run(fmt.Sprintf("RESP%d", protocol), func(t *testing.T) {
			ctx := pubsubContext(t)
			watch := s.WatchClients()
			c := pubsubClient(t, s, func(o *respool.Options) { o.MaxConnections, o.Protocol = 3, protocol })
			const n = 500
			subs := make([]*respool.Subscription, n)
			var wg sync.WaitGroup
			for i := range subs {
				wg.Go(func() {
					var err error
					if subs[i], err = c.Subscribe(ctx, fmt.Sprint("c", i), "all"); err != nil {
						t.Errorf("Subscribe: %v", err)
					}
				})
			}
			wg.Wait()
			if t.Failed() {
				t.FailNow()
			}
			if got := c.Stats().Subscribed; got != 1 {
				t.Errorf("Stats counts %d connections of subscriptions: want 1", got)
			}
			if _, err := c.Do(ctx, "PUBLISH", "all", "x").Int64(); err != nil {
				t.Fatal(err)
			}
			for _, sub := range subs {
				wantMessage(t, sub, respool.Message{Channel: "all", Payload: "x"})
			}
			if err := c.Close(ctx); err != nil {
				t.Errorf("Close: %v", err)
			}
			if got := s.ClientCount(); got != 0 {
				t.Errorf("the server counts %d connections after Close: want 0", got)
			}
			if peak := watch.Stop(); peak > 3 {
				t.Errorf("the server counted up to %d connections: want 3 at most", peak)
			}
		})
	}
}

func TestSubscribePSubscribeAndSSubscribe(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	c := pubsubClient(t, s, nil)
	ctx := pubsubContext(t)
	channel, err := c.Subscribe(ctx, "news")
	if err != nil {
		t.Fatal(err)
	}
	pattern, err := c.PSubscribe(ctx, "n*", "new?")
	if err != nil {
		t.Fatal(err)
	}
	if err := pattern.Remove("n*"); err != nil {
		t.Fatal(err)
	}
	shard, err := c.SSubscribe(ctx, "news")
	if !s.Has("SSUBSCRIBE") {
		wantServerError(t, err, "ERR")
	} else if err != nil {
		t.Fatal(err)
	}
	if err := channel.Add(ctx, "more"); err != nil {
		t.Fatal(err)
	}
	mustDo(t, c, "PUBLISH", "news", "1")
	mustDo(t, c, "PUBLISH", "more", "3")
	wantMessage(t, channel, respool.Message{Channel: "news", Payload: "1"})
	wantMessage(t, channel, respool.Message{Channel: "more", Payload: "3"})
	wantMessage(t, pattern, respool.Message{Channel: "news", Pattern: "new?", Payload: "1"})
	if shard != nil {
		mustDo(t, c, "SPUBLISH", "news", "2")
		wantMessage(t, shard, respool.Message{Channel: "news", Payload: "2"})
	}
}

func TestGapsReportLostMessages(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	c := pubsubClient(t, s, func(o *respool.Options) { o.SubscriptionBuffer = 2 })
	ctx := pubsubContext(t)
	sub, err := c.Subscribe(ctx, "c", "end")
	if err != nil {
		t.Fatal(err)
	}
	other, err := c.Subscribe(ctx, "end")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		s.Do("PUBLISH", "c", fmt.Sprint(i))
	}
	s.Do("PUBLISH", "end", "x")
	wantMessage(t, other, respool.Message{Channel: "end", Payload: "x"})
	s.Do("CLIENT", "KILL", "TYPE", "pubsub")
	wantMessage(t, other, respool.Message{Gap: &respool.Gap{Lost: -1, Cause: respool.GapReconnected}})
	wantMessage(t, sub, respool.Message{Channel: "c", Payload: "0"})
	wantMessage(t, sub, respool.Message{Channel: "c", Payload: "1"})
	wantMessage(t, sub, respool.Message{Gap: &respool.Gap{Lost: 4, Cause: respool.GapSlowSubscriber}})
	wantMessage(t, sub, respool.Message{Gap: &respool.Gap{Lost: -1, Cause: respool.GapReconnected}})
	s.Do("PUBLISH", "end", "y")
	wantMessage(t, sub, respool.Message{Channel: "end", Payload: "y"})
}

func TestMessagesEndsWithTheSubscription(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	c := pubsubClient(t, s, nil)
	sub, err := c.Subscribe(pubsubContext(t), "c")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		s.Do("PUBLISH", "c", fmt.Sprint(i))
	}
	got := ""
	for m, err := range sub.Messages(pubsubContext(t)) {
		if err != nil {
			if !errors.Is(err, respool.ErrSubscriptionClosed) {
				t.Errorf("Messages: %v: want ErrSubscriptionClosed", err)
			}
			break
		}
		if got += m.Payload; got == "012" {
			if err := sub.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		}
	}
	if got != "012" {
		t.Errorf("Messages returned %q: want 012", got)
	}
	for range sub.Messages(pubsubContext(t)) {
		break // a caller may leave early
	}
}

func TestErrorsOfSubscriptions(t *testing.T) {
	s := redistest.Start(t, redistest.Config{Users: []string{"alice on >secret ~* resetchannels &ok +@all"}})
	c := pubsubClient(t, s, func(o *respool.Options) { o.Username, o.Password = "alice", "secret" })
	ctx := pubsubContext(t)
	if _, err := c.Subscribe(ctx); err == nil || !strings.HasPrefix(err.Error(), "respool: subscribe: no channel") {
		t.Errorf("Subscribe without channels: %v", err)
	}
	var se *respool.ServerError
	if _, err := c.PSubscribe(ctx, "*"); !errors.As(err, &se) || se.Code != "NOPERM" {
		t.Errorf("PSubscribe to what is forbidden: %v: want NOPERM", err)
	}
	sub, err := c.Subscribe(ctx, "ok")
	if err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := sub.Receive(ended); !errors.Is(err, context.Canceled) || !strings.HasPrefix(err.Error(), "respool: ") {
		t.Errorf("Receive under an ended ctx: %v", err)
	}
	var ce *respool.ConnError
	if _, err := c.Subscribe(ended, "ok"); !errors.Is(err, context.Canceled) || !errors.As(err, &ce) {
		t.Errorf("Subscribe under an ended ctx: %v", err)
	}
	s.Kill()
	if _, err := c.Subscribe(ctx, "other"); !errors.As(err, &ce) {
		t.Errorf("Subscribe while the node is down: %v: want a *ConnError", err)
	}
	if err := c.Close(ctx); err != nil {
		t.Errorf("Close: %v", err)
	}
	if _, err := sub.Receive(ctx); !errors.Is(err, respool.ErrClosed) {
		t.Errorf("Receive after the client's Close: %v: want ErrClosed", err)
	}
	if _, err := c.Subscribe(ctx, "ok"); !errors.Is(err, respool.ErrClosed) {
		t.Errorf("Subscribe after the client's Close: %v: want ErrClosed", err)
	}
}

func TestSubscriptionsLeaveNoGoroutine(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	before := goleak.IgnoreCurrent()
	c := pubsubClient(t, s, nil)
	ctx := pubsubContext(t)
	var wg sync.WaitGroup
	for i := range 50 {
		sub, err := c.Subscribe(ctx, fmt.Sprint("c", i))
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			if _, err := sub.Receive(context.Background()); err == nil {
				t.Error("Receive returned a message: want an error")
			}
		})
		if i%2 == 0 {
			_ = sub.Close()
		}
	}
	if err := c.Close(ctx); err != nil {
		t.Errorf("Close: %v", err)
	}
	wg.Wait()
	goleak.VerifyNone(t, before)
}
