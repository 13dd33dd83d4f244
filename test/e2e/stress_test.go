package e2e_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
	"github.com/seed-2b0d76a6/respool/internal/wire"
)

// Flags of the stress tests. The defaults are for a test run. A soak test raises -stress and uses new seeds with -count.
var (
	stressFor = flag.Duration("stress", time.Second, "how long each stress test keeps its load up")
	seedFlag  = flag.Uint64("seed", 0, "seed of the stress tests; 0 draws one")
	strict    = flag.Bool("strict", false, "hold waits against their limits in time, for a quiet machine")
)

// seed returns the seed of the test and prints it.
func seed(t *testing.T) uint64 {
	s := *seedFlag
	if s == 0 {
		s = rand.Uint64()
	}
	t.Logf("seed %d", s)
	return s
}

func newRand(seed uint64, n int) *rand.Rand { return rand.New(rand.NewPCG(seed, uint64(n))) }

func newClient(t *testing.T, s *redistest.Server, change func(*respool.Options)) *respool.Client {
	t.Helper()
	opt, err := respool.ParseURL(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	opt.ClientName = "stress"
	if change != nil {
		change(&opt)
	}
	c, err := respool.New(opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := c.Close(ctx); err != nil {
			t.Errorf("close: %v, %v", err, c.Stats())
		}
	})
	return c
}

// expected reports whether a caller may get the error while connections are killed, servers restart or stop writes, and contexts end.
func expected(err error) bool {
	var ce *respool.ConnError
	var se *respool.ServerError
	if errors.As(err, &se) {
		return se.Code == "LOADING" || se.Code == "NOREPLICAS"
	}
	var we *wire.Error // returned to other users of the engine
	return err == nil || errors.As(err, &ce) || errors.As(err, &we) || errors.Is(err, respool.ErrPoolExhausted) ||
		errors.Is(err, respool.ErrConflict) || errors.Is(err, respool.ErrNil) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// load runs n callers for the duration. Each has its own random source.
func load(t *testing.T, n int, seed uint64, d time.Duration, fn func(ctx context.Context, r *rand.Rand, i int) error) {
	t.Helper()
	stop := time.Now().Add(d)
	var wg sync.WaitGroup
	var failed atomic.Bool
	for i := range n {
		wg.Go(func() {
			r := newRand(seed, i)
			for time.Now().Before(stop) && !failed.Load() {
				ctx, cancel := context.WithCancel(context.Background())
				if r.IntN(4) == 0 {
					cancel()
					ctx, cancel = context.WithTimeout(context.Background(), time.Duration(r.IntN(20_000))*time.Microsecond)
				}
				err := fn(ctx, r, i)
				cancel()
				if !expected(err) && !failed.Swap(true) {
					t.Errorf("caller %d: %T %v", i, err, err)
				}
			}
		})
	}
	wg.Wait()
}

// mixed is one operation of any class.
func mixed(c *respool.Client) func(ctx context.Context, r *rand.Rand, i int) error {
	return func(ctx context.Context, r *rand.Rand, i int) error {
		key := "k" + strconv.Itoa(r.IntN(50))
		switch r.IntN(12) {
		case 0:
			p := c.Pipeline()
			for range 1 + r.IntN(20) {
				p.Do("INCR", "n"+key).Do("GET", key)
			}
			_, err := p.Exec(ctx)
			return err
		case 1:
			return c.Do(ctx, "BLPOP", "q"+key, 0.005).Err()
		case 2:
			return c.Do(ctx, "LPUSH", "q"+key, i).Err()
		case 3:
			_, err := c.Transaction().Do("INCR", "a").Do("INCR", "b").Exec(ctx)
			return err
		case 4:
			_, err := c.Watch(ctx, []string{"w"}, func(w *respool.Watched) error {
				n, err := w.Do(ctx, "GET", "w").Int64()
				if err != nil && !errors.Is(err, respool.ErrNil) {
					return err
				}
				w.Queue("SET", "w", n+1)
				return nil
			})
			return err
		case 5:
			sub, err := c.Subscribe(ctx, "ch"+key)
			if err != nil {
				return err
			}
			defer sub.Close()
			short, cancel := context.WithTimeout(ctx, 2*time.Millisecond)
			defer cancel()
			_, err = sub.Receive(short)
			return err
		case 6:
			conn, err := c.Acquire(ctx)
			if err != nil {
				return err
			}
			defer conn.Release()
			if r.IntN(4) == 0 {
				return conn.Do(ctx, "SELECT", 1).Err()
			}
			return conn.Do(ctx, "GET", key).Err()
		case 7:
			return c.Do(ctx, "PUBLISH", "ch"+key, "hello").Err()
		default:
			if r.IntN(4) == 0 {
				return c.Do(ctx, "SET", key, i).Err()
			}
			return c.Do(ctx, "GET", key).Err()
		}
	}
}

// killer repeatedly kills a random connection of the client.
func killer(s *redistest.Server, seed uint64, stop <-chan struct{}) (killed int) {
	r := newRand(seed, -1)
	tick := time.NewTicker(15 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return killed
		case <-tick.C:
		}
		list, err := s.TryDo("CLIENT", "LIST")
		if err != nil {
			continue
		}
		var ids []string
		for line := range strings.Lines(list) {
			if id, _, _ := strings.Cut(strings.TrimPrefix(line, "id="), " "); strings.Contains(line, " name=stress ") {
				ids = append(ids, id)
			}
		}
		if len(ids) > 0 {
			if _, err := s.TryDo("CLIENT", "KILL", "ID", ids[r.IntN(len(ids))]); err == nil {
				killed++
			}
		}
	}
}

// Under load, killed connections and canceled calls, the server never counts more sockets than the limit. Afterwards every place
// is free.
func TestTheServerNeverCountsMoreThanMaxConnections(t *testing.T) {
	for _, limit := range []int{1, 2, 4, 10} {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			t.Parallel()
			s := redistest.Start(t, redistest.Config{})
			seed := seed(t)
			c := newClient(t, s, func(o *respool.Options) {
				o.MaxConnections = limit
				o.WaitTimeout = 2 * time.Second
			})
			watch := s.WatchClients()
			stop := make(chan struct{})
			var side sync.WaitGroup
			side.Go(func() { t.Logf("%d connections killed", killer(s, seed, stop)) })
			side.Go(func() {
				select {
				case <-time.After(*stressFor / 2):
					s.Kill()
					s.Restart()
				case <-stop:
				}
			})
			load(t, 1000, seed, *stressFor, mixed(c))
			close(stop)
			side.Wait()
			if peak := watch.Stop(); peak > limit || peak == 0 {
				t.Errorf("the server counted %d sockets at peak: want 1 to %d", peak, limit)
			}
			checkFree(t, c, limit)
			t.Log(c.Stats())
		})
	}
}

// checkFree checks that no place is lost: all of them can be leased together.
func checkFree(t *testing.T, c *respool.Client, limit int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	var held []*respool.Conn
	for len(held) < max(1, limit-1) {
		conn, err := c.Acquire(ctx)
		if err != nil {
			if ctx.Err() == nil && expected(err) {
				continue
			}
			t.Fatalf("leased %d of %d places: %v", len(held), max(1, limit-1), err)
		}
		held = append(held, conn)
	}
	if limit > 1 {
		if err := c.Do(ctx, "PING").Err(); err != nil {
			t.Errorf("PING while all other places are leased: %v", err)
		}
	}
	for _, conn := range held {
		conn.Release()
	}
	// The pool may still ask the server about a user that has lost its last connection.
	testkit.Await(t, "waiters and dedicated connections after all are released", func() [2]int {
		st := c.Stats()
		return [2]int{st.Waiting, st.Dedicated}
	}, testkit.Is([2]int{}))
}
