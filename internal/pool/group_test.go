package pool_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/pool"
	"github.com/seed-2b0d76a6/respool/resp"
)

// Whatever keys are used: while nothing fails nobody waits in vain, and everyone gets a conn of his key.
func TestAllKeysAreServed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		j := startJudge(t)
		defer j.stop()
		limit := rapid.IntRange(1, 4).Draw(t, "limit")
		keys := rapid.IntRange(2, 12).Draw(t, "keys")
		seed := rapid.Uint64().Draw(t, "seed")
		cfg := j.config(limit, limit, 0)
		cfg.MaxLifetime, cfg.IdleTimeout, cfg.WaitTimeout = 0, 0, time.Minute
		if rapid.Bool().Draw(t, "recasts") {
			cfg.Recast = recast
		}
		p := pool.New(cfg)
		var wg sync.WaitGroup
		for i := range 12 {
			wg.Go(func() {
				r := rand.New(rand.NewPCG(seed, uint64(i)))
				for range 8 {
					if err := useForKey(p, pool.Key{DB: r.IntN(keys)}, r); err != nil {
						t.Errorf("%v", err)
					}
				}
			})
		}
		wg.Wait()
		if err := p.Close(context.Background()); err != nil {
			t.Errorf("close: %v", err)
		}
		if peak := j.peak.Load(); peak > int64(limit) {
			t.Errorf("%d sockets at peak: want %d at most", peak, limit)
		}
		if st := p.Stats(); st.Groups != 1 || st.WaitsInVain != 0 {
			t.Errorf("after Close: %+v", st)
		}
	})
}

// useForKey runs one command, on a lane or on a conn of its own. A lane may drain between the look and the use.
func useForKey(p *pool.Pool, key pool.Key, r *rand.Rand) error {
	ctx := context.Background()
	g := p.Group(key)
	if r.IntN(3) == 0 {
		c, err := g.Acquire(ctx)
		if err != nil {
			return err
		}
		defer c.Release()
		frame, err := c.Lane().Do(ctx, []any{"PING"}, lane.Options{})
		return rightKey(key, frame, err)
	}
	for {
		l, opt := g.Pick(pool.Any), lane.Options{Owner: g}
		if l == nil {
			var err error
			if l, err = g.Shared(ctx); err != nil {
				return err
			}
			opt = lane.Options{Reserved: true}
		}
		frame, err := l.Do(ctx, []any{"PING"}, opt)
		if errors.Is(err, lane.ErrDraining) {
			continue
		}
		return rightKey(key, frame, err)
	}
}

func TestAWrongKeyFailsAlone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		j := startJudge(t)
		defer j.stop()
		limit := rapid.IntRange(1, 3).Draw(t, "limit")
		cfg := j.config(limit, 1, 0)
		if rapid.Bool().Draw(t, "recasts") {
			cfg.Recast = recast
		}
		p := pool.New(cfg)
		for range 5 {
			var se *resp.ServerError
			if _, err := p.Group(pool.Key{DB: 99}).Acquire(context.Background()); !errors.As(err, &se) {
				t.Fatalf("want the server's error, got %v", err)
			}
			c, err := p.Acquire(context.Background())
			if err != nil {
				t.Fatalf("another key's failure is everybody's: %v", err)
			}
			c.Release()
		}
		if err := p.Close(context.Background()); err != nil {
			t.Errorf("close: %v", err)
		}
	})
}

func TestARecastThatHangsEndsWithThePool(t *testing.T) {
	inBubble(t, func(cfg *pool.Config) {
		cfg.Max = 1
		cfg.Recast = func(ctx context.Context, _ *lane.Lane, _, _ pool.Key) error {
			<-ctx.Done()
			return ctx.Err()
		}
	}, func(t *testing.T, m *memory, p *pool.Pool) {
		acquire(t, p).Release()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if _, err := p.Group(pool.Key{DB: 1}).Acquire(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if st := p.Stats(); st.Dialing != 1 || st.Recasts != 1 {
			t.Errorf("%+v", st)
		}
	})
}
