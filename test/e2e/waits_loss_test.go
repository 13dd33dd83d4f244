package e2e_test

import (
	"context"
	"flag"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/faultnet"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

var elementCount = flag.Int("elements", 3_000, "how many elements each test of blocking consumers pushes")

// deliver pushes elements until there are enough, while consumers receive them. do runs a command of a producer, and consume
// one blocking command of the i-th consumer. It returns when all commands have ended.
func (l *ledger) deliver(seed uint64, enough func() bool, do func(args ...string) error, consume func(ctx context.Context, r *rand.Rand, i int)) {
	var consuming, producers sync.WaitGroup
	ctx, stop := context.WithCancel(context.Background())
	for i := range consumers {
		consuming.Go(func() {
			r := newRand(seed, i)
			for ctx.Err() == nil {
				consume(ctx, r, i)
			}
		})
	}
	for i := range 2 {
		producers.Go(func() {
			r := newRand(seed, 1000+i)
			for !enough() {
				l.produce(r, func(args ...string) error {
					err := do(args...)
					if err != nil {
						time.Sleep(5 * time.Millisecond)
					}
					return err
				})
				if r.IntN(20) == 0 {
					time.Sleep(time.Duration(r.IntN(2000)) * time.Microsecond) // the consumers wait
				}
			}
		})
	}
	producers.Wait()
	stop()
	consuming.Wait()
}

// has returns whether producers have pushed n elements.
func (l *ledger) has(n int) func() bool { return func() bool { return l.count() >= n } }

// callers returns consumers that use a client. Half of their contexts end soon.
func (l *ledger) callers(next func() *respool.Client) func(ctx context.Context, r *rand.Rand, i int) {
	return func(ctx context.Context, r *rand.Rand, i int) {
		ctx, cancel := context.WithCancel(ctx)
		if r.IntN(2) == 0 {
			cancel()
			ctx, cancel = context.WithTimeout(context.Background(), time.Duration(r.IntN(5000))*time.Microsecond)
		}
		defer cancel()
		l.consume(ctx, next(), i, timeouts[r.IntN(3)])
	}
}

// consumers is how many commands of consumers run at a time.
const consumers = 60

var timeouts = []string{"0", "0.003", "0.5"}

// lostSoFar is how many elements a client reports as lost, and how many as moved or read for a caller that had left. The
// latter happens if a reply takes longer than the client waits for it at the end of a ctx, 100 ms.
func lostSoFar(c *respool.Client) (lost, dropped int) {
	for _, one := range c.Stats().Blocking.Commands {
		lost += int(one.Lost)
		dropped += int(one.Dropped)
	}
	return lost, dropped
}

// store returns a server that loses no acknowledged write.
func store(t *testing.T) *redistest.Server {
	s := redistest.Start(t, redistest.Config{AppendOnly: true})
	s.Do("XGROUP", "CREATE", "st", "g", "$", "MKSTREAM")
	return s
}

// direct runs a command of a producer at a server that may be down.
func direct(s *redistest.Server) func(args ...string) error {
	return func(args ...string) error {
		_, err := s.TryDo(args...)
		return err
	}
}

// Callers that leave lose no element, and open no connection.
func TestLeavingABlockingCommandLosesNothing(t *testing.T) {
	for _, protocol := range []int{2, 3} {
		t.Run("RESP"+strconv.Itoa(protocol), func(t *testing.T) {
			s := store(t)
			c := newClient(t, s, func(o *respool.Options) { o.Protocol, o.MaxConnections = protocol, 5 })
			if err := c.Warm(bounded(t)); err != nil {
				t.Fatal(err)
			}
			opened := func() int {
				n, err := strconv.Atoi(s.Info("stats")["total_connections_received"])
				if err != nil {
					t.Error(err)
				}
				return n
			}
			testkit.Eventually(t, "all connections are open, also the one that watches keys", func() bool {
				mustDo(t, c, "BLPOP", "l0", "0.02")
				return c.Stats().Sockets() == 5
			})
			before := opened()
			l := newLedger(s.Version())
			l.deliver(seed(t), l.has(*elementCount), direct(s), l.callers(func() *respool.Client { return c }))
			if n := opened(); n > before+2 { // on a slow machine a silent connection may cause a query on a new one
				t.Errorf("the server has accepted %d connections: want %d as before", n, before)
			}
			lost, dropped := lostSoFar(c)
			l.check(t, c, 2*dropped, nil)
			if lost > 0 || l.sent > 0 || l.canceled < 100 {
				t.Errorf("%d elements are lost, %d errors Sent, %d callers left: %+v", lost, l.sent, l.canceled, c.Stats().Blocking)
			}
		})
	}
}

// The loss of connections loses no element, except those of attempts in flight, whose callers get the error Sent.
func TestBrokenConnectionsLoseNothing(t *testing.T) {
	chaos := map[string]func(s *redistest.Server, relay *faultnet.Relay, r *rand.Rand, seed uint64, stop <-chan struct{}){
		"killed": func(s *redistest.Server, _ *faultnet.Relay, _ *rand.Rand, seed uint64, stop <-chan struct{}) {
			killer(s, seed, stop)
		},
		"faults": func(_ *redistest.Server, relay *faultnet.Relay, r *rand.Rand, _ uint64, stop <-chan struct{}) {
			faults(relay, r, stop)
		},
		"restarts": func(s *redistest.Server, _ *faultnet.Relay, _ *rand.Rand, _ uint64, stop <-chan struct{}) {
			for {
				select {
				case <-stop:
					return
				case <-time.After(300 * time.Millisecond):
					s.Kill()
					s.Restart()
				}
			}
		},
	}
	for name, run := range chaos {
		t.Run(name, func(t *testing.T) {
			s := store(t)
			relay := faultnet.Start(t, s.Addr())
			c := viaRelay(t, s, relay, func(o *respool.Options) { o.MaxConnections = 5 })
			seed := seed(t)
			l := newLedger(s.Version())
			stop := make(chan struct{})
			var side sync.WaitGroup
			side.Go(func() { run(s, relay, newRand(seed, -2), seed, stop) })
			l.deliver(seed, l.has(*elementCount), direct(s), l.callers(func() *respool.Client { return c }))
			close(stop)
			side.Wait()
			relay.Resume()
			lost, dropped := lostSoFar(c)
			l.check(t, newClient(t, s, nil), lost+2*dropped, nil)
			t.Log(c.Stats(), "dials:", c.Stats().Dials)
		})
	}
}

// Close loses no element.
func TestCloseOfWaitingClientsLosesNothing(t *testing.T) {
	s := store(t)
	var now atomic.Pointer[respool.Client]
	var lost, dropped atomic.Int64
	now.Store(newClient(t, s, nil))
	seed := seed(t)
	l := newLedger(s.Version())
	stop := make(chan struct{})
	var side sync.WaitGroup
	side.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(10 * time.Millisecond):
			}
			opt, _ := respool.ParseURL(s.URL())
			next, err := respool.New(opt)
			if err != nil {
				t.Error(err)
				return
			}
			t.Cleanup(func() { _ = next.Close(bounded(t)) })
			old := now.Swap(next)
			if err := old.Close(bounded(t)); err != nil {
				t.Errorf("close: %v", err)
			}
			a, b := lostSoFar(old)
			lost.Add(int64(a))
			dropped.Add(int64(b))
		}
	})
	l.deliver(seed, l.has(*elementCount), direct(s), l.callers(now.Load))
	close(stop)
	side.Wait()
	l.check(t, newClient(t, s, nil), int(2*dropped.Load()), nil)
	if l.sent > 0 || lost.Load() > 0 {
		t.Errorf("%d errors Sent, %d elements lost", l.sent, lost.Load())
	}
}
