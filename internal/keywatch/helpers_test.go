package keywatch

import (
	"context"
	"errors"
	"sync"
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

// long is a time that is not over before the end of a test.
const long = time.Hour

// bench is a Watcher on a pool.
type bench struct {
	*Watcher
	pool *pool.Pool
}

// newBench returns a Watcher on a pool for the server at addr. Its last resort is off unless cfg sets it.
func newBench(t testing.TB, dial wire.Config, cfg Config, tune func(*pool.Config)) *bench {
	t.Helper()
	if dial.Protocol == 0 {
		dial.Protocol = 3 // a connection that breaks in its handshake is no reason for RESP2
	}
	if dial.Network == "" {
		dial.Network = "tcp"
	}
	dial.ConnectTimeout, dial.LingerLimit = 10*time.Second, 5*time.Second
	poolCfg := pool.Config{
		Addr: dial.Addr,
		Dial: func(ctx, cut context.Context, _ pool.Identity) (*wire.Conn, error) { return wire.Dial(ctx, cut, &dial) },
		Lane: lane.Config{
			ReplyTimeout: 10 * time.Second, StallLimit: 20 * time.Second, Window: 1024, WindowBytes: 4 << 20,
			ReplyLimit: 64 << 20, LingerLimit: 5 * time.Second,
		},
		Max: 4, Lanes: 1, WaitTimeout: 10 * time.Second,
		DialParallel: 2, DialRate: 1000, BackoffBase: 10 * time.Millisecond, BackoffCap: 100 * time.Millisecond,
	}
	if tune != nil {
		tune(&poolCfg)
	}
	if cfg.LastResort == 0 {
		cfg.LastResort = long
	}
	p := pool.New(poolCfg)
	b := &bench{New(p, cfg), p}
	t.Cleanup(func() {
		b.Close()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := p.Close(ctx); err != nil {
			t.Errorf("close the pool: %v", err)
		}
	})
	return b
}

// start is newBench for a server of redistest.
func start(t testing.TB, srv *redistest.Server, cfg Config) *bench {
	t.Helper()
	return newBench(t, wire.Config{Addr: srv.Addr()}, cfg, nil)
}

// recorder counts notifications by key.
type recorder struct {
	mu    sync.Mutex
	count map[string]int
	ends  map[string]error
	then  func(key string, err error) // nil: nothing
}

func newRecorder() *recorder { return &recorder{count: map[string]int{}, ends: map[string]error{}} }

func (r *recorder) Notify(key string, err error) {
	r.mu.Lock()
	if err == nil {
		r.count[key]++
	} else {
		r.ends[key] = err
	}
	then := r.then
	r.mu.Unlock()
	if then != nil {
		then(key, err)
	}
}

func (r *recorder) of(key string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.count[key]
}

func (r *recorder) end(key string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ends[key]
}

func (b *bench) mustWatch(t testing.TB, r Subscriber, key string) *Watch {
	t.Helper()
	x, err := b.Watch(key, r)
	if err != nil {
		t.Fatalf("Watch(%q): %v", key, err)
	}
	return x
}

// more waits until r has more than n notifications about key, and returns their number.
func (r *recorder) more(t testing.TB, key string, n int) int {
	t.Helper()
	return testkit.Await(t, "the notifications about "+key, func() int { return r.of(key) }, testkit.AtLeast(n+1))
}

// quiet waits until the server tracks all keys, and returns the number of notifications about key.
func (b *bench) quiet(t testing.TB, r *recorder, key string) int {
	t.Helper()
	testkit.Eventually(t, "all keys are tracked and all notifications are made", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, k := range b.core.keys {
			if k.state != tracked || k.again {
				return false
			}
		}
		return len(b.core.notes) == 0 && !b.delivering
	})
	return r.of(key)
}

func (b *bench) waitConnected(t testing.TB, want bool) {
	t.Helper()
	testkit.Await(t, "Stats.Connected", func() bool { return b.Stats().Connected }, testkit.Is(want))
}

// waitEnd waits until the watch of key has ended with want.
func (b *bench) waitEnd(t testing.TB, r *recorder, key string, want error) {
	t.Helper()
	testkit.Await(t, "the end of the watch of "+key, func() error { return r.end(key) }, func(err error) bool { return errors.Is(err, want) })
}
