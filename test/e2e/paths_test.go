package e2e_test

import (
	"context"
	"fmt"
	"path/filepath"
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

// underLoad keeps commands in flight until the returned function is called.
func underLoad(t *testing.T, c *respool.Client) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(bounded(t))
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			for ctx.Err() == nil {
				_ = c.Do(ctx, "SET", fmt.Sprint("k", i), i).Err()
			}
		})
	}
	return func() {
		cancel()
		wg.Wait()
	}
}

// laneFailures records the errors of failed lanes.
type laneFailures struct {
	mu   sync.Mutex
	errs []string
}

func (l *laneFailures) event(e respool.Event) {
	if e.Kind != respool.EventLaneFailed {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.errs = append(l.errs, e.Err.Error())
}

func (l *laneFailures) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.errs...)
}

// onWay returns a relay in front of s, and options that connect to it over TCP, TLS or a unix socket.
func onWay(t *testing.T, s *redistest.Server, way string) (*faultnet.Relay, respool.Options) {
	t.Helper()
	switch way {
	case "unix":
		path := filepath.Join(t.TempDir(), "relay")
		return faultnet.StartUnix(t, path, s.PlainAddr()), respool.Options{Network: "unix", Addr: path}
	case "tls":
		relay := faultnet.Start(t, s.Addr())
		return relay, respool.Options{Addr: relay.Addr(), TLS: s.TLSConfig()}
	}
	relay := faultnet.Start(t, s.PlainAddr())
	return relay, respool.Options{Addr: relay.Addr()}
}

// The path acknowledges and drops all bytes, and new connections work. TestADeadPathCostsLittleMoreThanAStallLimit tests the
// time until commands succeed.
func TestAllLanesLeaveADeadPathTogether(t *testing.T) {
	const stall = 2 * time.Second
	s := redistest.Start(t, redistest.Config{TLS: true})
	for _, x := range []struct {
		lanes, max, protocol int
		way                  string
	}{
		{1, 12, 3, "tcp"}, {4, 12, 2, "tcp"}, {4, 12, 3, "tls"}, {1, 12, 2, "tls"}, {4, 12, 3, "unix"}, {1, 12, 2, "unix"},
		{1, 1, 2, "tcp"}, {4, 4, 3, "tcp"}, {1, 1, 3, "unix"}, {4, 4, 2, "tls"}, // no place is free for a probe
	} {
		t.Run(fmt.Sprintf("%+v", x), func(t *testing.T) {
			t.Parallel()
			relay, opt := onWay(t, s, x.way)
			var log laneFailures
			opt.Protocol, opt.Lanes, opt.MaxConnections, opt.OnEvent = x.protocol, x.lanes, x.max, log.event
			opt.StallLimit, opt.SocketTimeout, opt.WaitTimeout = stall, stall/16, stall/16
			c := openClient(t, opt)
			if err := c.Warm(bounded(t)); err != nil {
				t.Fatal(err)
			}
			stop := underLoad(t, c)
			defer stop()
			relay.Swallow()
			testkit.Await(t, "INCR succeeds", func() error { return c.Do(bounded(t), "INCR", "n").Err() }, succeeded)
			if x.max > x.lanes && !strings.Contains(strings.Join(log.all(), "\n"), "answered on another connection") {
				t.Errorf("no path was found dead by asking on another connection: %q", log.all())
			}
		})
	}
}

// A load balancer drops idle connections silently. The next caller gets a working connection within the wait timeout.
func TestDroppedIdleConnectionsAreNotLeased(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	for _, protocol := range []int{2, 3} {
		t.Run(fmt.Sprintf("RESP%d", protocol), func(t *testing.T) {
			t.Parallel()
			relay := faultnet.Start(t, s.Addr())
			c := viaRelay(t, s, relay, func(o *respool.Options) {
				dedicated(o)
				o.Protocol, o.MaxConnections = protocol, 8
			})
			var held []*respool.Conn
			for range 5 {
				held = append(held, acquire(t, c))
			}
			for _, conn := range held {
				conn.Release()
			}
			mustDo(t, c, "PING")
			relay.Swallow()
			time.Sleep(3500 * time.Millisecond) // longer than the pool trusts an idle connection
			for i := range 5 {
				key := fmt.Sprint("q", protocol, i)
				s.Do("RPUSH", key, "x")
				if r := c.Do(bounded(t), "BLPOP", key, 1); r.Err() != nil {
					t.Errorf("BLPOP %d: %v, %v", i, r.Err(), c.Stats())
				}
			}
		})
	}
}

// A server delays one reply and sends others. The path is not dead.
func TestAPausedServerCostsNoConnection(t *testing.T) {
	const stall = time.Second
	s := redistest.Start(t, redistest.Config{})
	for _, protocol := range []int{2, 3} {
		t.Run(fmt.Sprintf("RESP%d", protocol), func(t *testing.T) {
			var log laneFailures
			c := newClient(t, s, func(o *respool.Options) {
				o.Protocol, o.StallLimit, o.SocketTimeout = protocol, stall, patience
				o.OnEvent = log.event
			})
			mustDo(t, c, "PING")
			s.Do("CLIENT", "PAUSE", "2500", "WRITE")
			began := time.Now()
			mustDo(t, c, "SET", "k", "v")
			if took := time.Since(began); took < 2*stall || len(log.all()) > 0 {
				t.Errorf("the SET took %v, and lanes failed: %q", took, log.all())
			}
		})
	}
}

// The script of one caller keeps the server busy for longer than the stall limit. Its lane stays open, and other callers get the
// server's replies.
func TestALongScriptCostsNoConnection(t *testing.T) {
	const stall = time.Second
	s := redistest.Start(t, redistest.Config{Args: []string{"--lua-time-limit", "300"}})
	for _, protocol := range []int{2, 3} {
		t.Run(fmt.Sprintf("RESP%d", protocol), func(t *testing.T) {
			var log laneFailures
			c := newClient(t, s, func(o *respool.Options) {
				o.Protocol, o.StallLimit, o.SocketTimeout = protocol, stall, patience
				o.OnEvent = log.event
			})
			mustDo(t, c, "PING")
			ended := make(chan error, 1)
			go func() {
				ended <- c.Do(bounded(t), "EVAL", "while true do end", 0).Err()
			}()
			var busy atomic.Int64
			stop := make(chan struct{})
			var others sync.WaitGroup
			for range 4 {
				others.Go(func() {
					for {
						select {
						case <-stop:
							return
						case <-time.After(10 * time.Millisecond):
						}
						ctx, cancel := context.WithTimeout(context.Background(), stall)
						if err := c.Do(ctx, "GET", "k").Err(); err != nil && strings.Contains(err.Error(), "BUSY") {
							busy.Add(1)
						}
						cancel()
					}
				})
			}
			began := time.Now()
			testkit.Eventually(t, "100 BUSY replies in two stall limits", func() bool { return busy.Load() > 100 && time.Since(began) > 2*stall })
			close(stop)
			others.Wait()
			s.Do("SCRIPT", "KILL")
			if err := <-ended; err == nil || !strings.Contains(err.Error(), "killed") {
				t.Errorf("the script ended with %v: want the server's word", err)
			}
			if errs := log.all(); len(errs) > 0 {
				t.Errorf("lanes were failed: %q", errs)
			}
		})
	}
}

// A proxy keeps TCP alive and drops the messages. The subscriber receives a gap.
func TestASubscriberBehindADeadPathReceivesAGap(t *testing.T) {
	s := redistest.Start(t, redistest.Config{TLS: true})
	for _, protocol := range []int{2, 3} {
		for _, x := range []struct {
			name, way       string
			interval, stall time.Duration
		}{
			{"asked at intervals", "tcp", 500 * time.Millisecond, time.Minute},
			{"doubted with a lane", "tcp", respool.Never, 2 * time.Second},
			{"over TLS", "tls", 500 * time.Millisecond, time.Minute},
			{"over a unix socket", "unix", 500 * time.Millisecond, time.Minute},
			{"doubted over TLS", "tls", respool.Never, 2 * time.Second},
			{"doubted over a unix socket", "unix", respool.Never, 2 * time.Second},
		} {
			t.Run(fmt.Sprintf("%s, RESP%d", x.name, protocol), func(t *testing.T) {
				t.Parallel()
				relay, opt := onWay(t, s, x.way)
				opt.Protocol, opt.SocketTimeout, opt.WaitTimeout = protocol, 500*time.Millisecond, patience
				opt.HealthCheckInterval, opt.StallLimit = x.interval, x.stall
				c := openClient(t, opt)
				channel := fmt.Sprint("c", x.name, protocol)
				var sub *respool.Subscription
				testkit.Await(t, "the subscription", func() (err error) { // the socket timeout may be too short for a slow machine
					sub, err = c.Subscribe(bounded(t), channel)
					return err
				}, succeeded)
				testkit.Await(t, "PING succeeds", func() error { return c.Do(bounded(t), "PING").Err() }, succeeded)
				if opt.HealthCheckInterval == respool.Never {
					stop := underLoad(t, c)
					defer stop()
				}
				relay.Swallow()
				if m, err := sub.Receive(bounded(t)); err != nil || m.Gap == nil || m.Gap.Cause != respool.GapReconnected {
					t.Fatalf("received %+v, %v: want a gap", m, err)
				}
				s.Do("PUBLISH", channel, "x")
				if m, err := sub.Receive(bounded(t)); err != nil || m.Payload != "x" {
					t.Errorf("received %+v, %v: want the message behind the gap", m, err)
				}
			})
		}
	}
}

// Bytes that the socket accepts, and bytes that the server still receives, are progress.
func TestASlowWriteCostsNoConnection(t *testing.T) {
	const stall = 600 * time.Millisecond
	s := redistest.Start(t, redistest.Config{TLS: true})
	for _, tls := range []bool{false, true} {
		t.Run(fmt.Sprintf("TLS %v", tls), func(t *testing.T) {
			t.Parallel()
			addr := s.PlainAddr()
			if tls {
				addr = s.Addr()
			}
			relay := faultnet.Start(t, addr)
			opt := respool.Options{Addr: relay.Addr(), StallLimit: stall, SocketTimeout: patience}
			if tls {
				opt.TLS = s.TLSConfig()
			}
			c := openClient(t, opt)
			mustDo(t, c, "PING")
			relay.SlowReader(6 << 20)
			began := time.Now()
			mustDo(t, c, "SET", "large", make([]byte, 12<<20))
			took := time.Since(began)
			if took < 2*stall {
				t.Errorf("it took %v: want so long that it would have been taken for a stall", took)
			}
		})
	}
}
