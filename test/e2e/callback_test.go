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

// callbacks are what a listener may call. Those that wait are given as long as a listener may block.
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

// listener calls a method the first time that an event of its kind comes.
type listener struct {
	kind   respool.EventKind
	call   func(context.Context, *respool.Client)
	called atomic.Bool
	came   chan struct{}
	ended  chan struct{}
	client chan *respool.Client
}

func newListener(kind respool.EventKind, call func(context.Context, *respool.Client)) *listener {
	return &listener{kind: kind, call: call, came: make(chan struct{}), ended: make(chan struct{}), client: make(chan *respool.Client, 1)}
}

func (l *listener) event(e respool.Event) {
	if e.Kind != l.kind || l.called.Swap(true) {
		return
	}
	close(l.came)
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	l.call(ctx, <-l.client)
	close(l.ended)
}

// check waits for the event, and then for the end of what was called.
func (l *listener) check(t *testing.T, c *respool.Client) {
	t.Helper()
	for _, ch := range []chan struct{}{l.came, l.ended} {
		select {
		case <-ch:
		case <-time.After(patience):
			t.Fatalf("%v: the event did not come, or what was called did not return; %v", l.kind, c)
		}
	}
	// A Close from elsewhere waits for the end of all.
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := c.Close(ctx); err != nil {
		t.Errorf("close: %v", err)
	}
	if st := c.Stats(); st.Sockets() != 0 {
		t.Errorf("after Close: %v", st)
	}
}

// What a listener calls returns, whatever the event: the goroutines that tell of events are those that others
// wait for.
func TestListenersMayCallAnyMethod(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	for kind := respool.EventDialed; kind <= respool.EventReleased; kind++ {
		for name, call := range callbacks {
			t.Run(kind.String()+", "+name, func(t *testing.T) {
				t.Parallel()
				relay := faultnet.Start(t, s.Addr())
				l := newListener(kind, call)
				c := openClient(t, respool.Options{Addr: relay.Addr(), MaxConnections: 2, Lanes: 1, LeakThreshold: 20 * time.Millisecond,
					WaitTimeout: 100 * time.Millisecond, SocketTimeout: time.Second, LingerLimit: time.Second, OnEvent: l.event})
				l.client <- c
				happenings(c, relay, l.came)
				l.check(t, c)
			})
		}
	}
}

// happenings brings events of all kinds about until one has come.
func happenings(c *respool.Client, relay *faultnet.Relay, came <-chan struct{}) {
	for over, end := false, time.Now().Add(patience); !over && time.Now().Before(end); {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		_ = c.Do(ctx, "PING").Err()
		if conn, err := c.Acquire(ctx); err == nil {
			_ = c.Do(ctx, "BLPOP", "nothing", 0.01).Err() // waits in vain for a second one
			conn.Release()
		}
		relay.Refuse(true)
		relay.CutAll()
		_ = c.Do(ctx, "PING").Err()
		relay.Refuse(false)
		cancel()
		select {
		case <-came:
			over = true
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// Sentinels tell of nodes on a goroutine that Close waits for.
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
		_ = lost[name].Do(ctx, "PING").Err() // finds the node gone
		cancel()
		l.check(t, lost[name])
	}
}
