package e2e_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/testkit/faultnet"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// callbacks are the methods that a listener may call. Methods that wait get the time that a listener may block.
var callbacks = map[string]func(ctx context.Context, c *respool.Client){
	"Close":  func(_ context.Context, c *respool.Client) { _ = c.Close(context.Background()) },
	"Stats":  func(_ context.Context, c *respool.Client) { _ = c.Stats() },
	"String": func(_ context.Context, c *respool.Client) { _ = c.String() },
	"Resize": func(_ context.Context, c *respool.Client) { _ = c.Resize(3) },
	"Do":     func(ctx context.Context, c *respool.Client) { _ = c.Do(ctx, "PING").Err() },
	"Warm":   func(ctx context.Context, c *respool.Client) { _ = c.Warm(ctx) },
	"Acquire": func(ctx context.Context, c *respool.Client) {
		if conn, err := c.Acquire(ctx); err == nil {
			conn.Release()
		}
	},
	"Subscribe": func(ctx context.Context, c *respool.Client) {
		if sub, err := c.Subscribe(ctx, "c"); err == nil {
			_ = sub.Close()
		}
	},
}

// listener calls a method at the first event of its kind.
type listener struct {
	kind     respool.EventKind
	call     func(context.Context, *respool.Client)
	called   atomic.Bool
	reported chan struct{}
	ended    chan struct{}
	client   chan *respool.Client
}

func newListener(kind respool.EventKind, call func(context.Context, *respool.Client)) *listener {
	return &listener{kind: kind, call: call, reported: make(chan struct{}), ended: make(chan struct{}), client: make(chan *respool.Client, 1)}
}

func (l *listener) event(e respool.Event) {
	if e.Kind != l.kind || l.called.Swap(true) {
		return
	}
	close(l.reported)
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	l.call(ctx, <-l.client)
	close(l.ended)
}

// check waits for the event, and then for the end of the call.
func (l *listener) check(t *testing.T, c *respool.Client) {
	t.Helper()
	for _, ch := range []chan struct{}{l.reported, l.ended} {
		select {
		case <-ch:
		case <-time.After(patience):
			t.Fatalf("%v: no event was reported, or the call did not return; %v", l.kind, c)
		}
	}
	// A Close on another goroutine waits for all of them.
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := c.Close(ctx); err != nil {
		t.Errorf("close: %v", err)
	}
	if st := c.Stats(); st.Sockets() != 0 {
		t.Errorf("after Close: %v", st)
	}
}

// A call in a listener returns, at every kind of event. Other calls wait for the goroutines that report events.
func TestListenersMayCallAnyMethod(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	for kind := respool.EventDialed; kind <= respool.EventReleased; kind++ {
		for name, call := range callbacks {
			t.Run(kind.String()+", "+name, func(t *testing.T) {
				t.Parallel()
				relay := faultnet.Start(t, s.Addr())
				l := newListener(kind, call)
				c := openClient(t, respool.Options{Addr: relay.Addr(), MaxConnections: 2, Lanes: 1, LeakThreshold: 20 * time.Millisecond,
					Blocking:    respool.BlockingDedicated,
					WaitTimeout: 100 * time.Millisecond, SocketTimeout: time.Second, LingerLimit: time.Second, OnEvent: l.event})
				l.client <- c
				causeEvents(c, relay, l.reported)
				l.check(t, c)
			})
		}
	}
}

// causeEvents causes events of all kinds until one is reported.
func causeEvents(c *respool.Client, relay *faultnet.Relay, reported <-chan struct{}) {
	for over, end := false, time.Now().Add(patience); !over && time.Now().Before(end); {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		_ = c.Do(ctx, "PING").Err()
		if conn, err := c.Acquire(ctx); err == nil {
			_ = c.Do(ctx, "BLPOP", "nothing", 0.01).Err() // waits for a second connection and gets none
			conn.Release()
		}
		relay.Refuse(true)
		relay.CutAll()
		_ = c.Do(ctx, "PING").Err()
		relay.Refuse(false)
		cancel()
		select {
		case <-reported:
			over = true
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// Events about nodes come from a goroutine that Close waits for.
func TestListenersMayCallAnyMethodWhenThePrimaryChanges(t *testing.T) {
	set := redistest.StartSentinels(t, redistest.SentinelConfig{Replicas: 1})
	for name, call := range callbacks {
		t.Run(name, func(t *testing.T) {
			l := newListener(respool.EventPrimaryFound, call)
			opt := serviceOptions(t, set)
			opt.OnEvent = l.event
			c := openClient(t, opt)
			l.client <- c
			_ = c.Do(bounded(t), "PING").Err()
			l.check(t, c)
		})
	}
	lost := map[string]*respool.Client{}
	listeners := map[string]*listener{}
	for name, call := range callbacks {
		l := newListener(respool.EventPrimaryLost, call)
		opt := serviceOptions(t, set)
		opt.OnEvent = l.event
		c := openClient(t, opt)
		l.client <- c
		mustDo(t, c, "PING")
		lost[name], listeners[name] = c, l
	}
	for _, s := range set.Nodes {
		s.Kill()
	}
	for name, l := range listeners {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		_ = lost[name].Do(ctx, "PING").Err() // fails: the node has ended
		cancel()
		l.check(t, lost[name])
	}
}
