package pubsub

import (
	"context"
	"fmt"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/pool"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
	"github.com/seed-2b0d76a6/respool/internal/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds waits that only a defect makes long.
const patience = 30 * time.Second

// setup says how a hub is made for a test.
type setup struct {
	protocol int
	user     string
	password string
	hub      Config
	tune     func(*pool.Config)
}

// newHub makes a hub on a pool of its own for the server.
func newHub(t testing.TB, srv *redistest.Server, c setup) *Hub {
	t.Helper()
	return newHubAt(t, &wire.Config{
		Network: "tcp", Addr: srv.Addr(), Protocol: c.protocol, Username: c.user, Password: c.password,
		ConnectTimeout: 10 * time.Second, LingerLimit: 5 * time.Second,
	}, c)
}

func newHubAt(t testing.TB, dial *wire.Config, c setup) *Hub {
	t.Helper()
	return newHubOn(t, newPool(t, dial, c), c)
}

// newHubOn makes a hub on a source.
func newHubOn(t testing.TB, source Source, c setup) *Hub {
	if c.hub.Buffer == 0 {
		c.hub.Buffer = 1 << 20
	}
	h := New(source, c.hub)
	t.Cleanup(func() { h.Close(context.Background()) })
	return h
}

// newPool makes a pool of connections to a node.
func newPool(t testing.TB, dial *wire.Config, c setup) *pool.Pool {
	cfg := pool.Config{
		Addr: dial.Addr,
		Dial: func(ctx, cut context.Context, _ pool.Identity) (*wire.Conn, error) { return wire.Dial(ctx, cut, dial) },
		Lane: lane.Config{
			ReplyTimeout: 10 * time.Second, StallLimit: 20 * time.Second, Window: 1024, WindowBytes: 4 << 20,
			ReplyLimit: 64 << 20, LingerLimit: 5 * time.Second,
		},
		Max: 4, Lanes: 1, WaitTimeout: 10 * time.Second,
		DialParallel: 2, DialRate: 1000, BackoffBase: 10 * time.Millisecond, BackoffCap: 100 * time.Millisecond,
	}
	if c.tune != nil {
		c.tune(&cfg)
	}
	p := pool.New(cfg)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := p.Close(ctx); err != nil {
			t.Errorf("close the pool: %v", err)
		}
	})
	return p
}

// start starts a server and makes a hub for it.
func start(t testing.TB, c setup) (*redistest.Server, *Hub) {
	t.Helper()
	srv := redistest.Start(t, redistest.Config{})
	return srv, newHub(t, srv, c)
}

// eachProtocol runs a test on one server, with a hub that uses RESP2 and with a hub that uses RESP3.
func eachProtocol(t *testing.T, cfg redistest.Config, c setup, f func(t *testing.T, srv *redistest.Server, h *Hub)) {
	srv := redistest.Start(t, cfg)
	for _, protocol := range []int{2, 3} {
		t.Run(fmt.Sprintf("RESP%d", protocol), func(t *testing.T) {
			c.protocol = protocol
			f(t, srv, newHub(t, srv, c))
		})
	}
}

// fakeSession returns a session of a hub without a connection and without a goroutine.
func fakeSession(h *Hub) *session {
	l := h.linkLocked(h.source)
	l.session, l.running = &session{link: l}, true
	return l.session
}

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func mustSubscribe(t testing.TB, h *Hub, kind Kind, names ...string) *Subscription {
	t.Helper()
	s, err := h.Subscribe(testContext(t), kind, names)
	if err != nil {
		t.Fatalf("Subscribe(%v): %v", names, err)
	}
	return s
}

func mustReceive(t testing.TB, s *Subscription) Message {
	t.Helper()
	msg, err := s.Receive(testContext(t))
	if err != nil {
		t.Fatalf("Receive: %v", err)
	}
	return msg
}

// text shows a message in one line.
func text(m Message) string {
	if m.Gap != nil {
		return fmt.Sprintf("gap(%s, %d)", m.Gap.Cause, m.Gap.Lost)
	}
	if m.Pattern != "" {
		return m.Pattern + " " + m.Channel + " " + m.Payload
	}
	return m.Channel + " " + m.Payload
}

func wantMessages(t testing.TB, s *Subscription, want ...string) {
	t.Helper()
	for i, w := range want {
		if got := text(mustReceive(t, s)); got != w {
			t.Fatalf("message %d is %q: want %q", i, got, w)
		}
	}
}

// wantCount waits until the server counts n subscribers to a channel.
func wantCount(t testing.TB, srv *redistest.Server, command, channel string, n int) {
	t.Helper()
	want := fmt.Sprintf("%s\n%d", channel, n)
	testkit.Await(t, "the subscribers of "+channel, func() string { return srv.Do("PUBSUB", command, channel) }, testkit.Is(want))
}
