package pool_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/pool"
	"github.com/seed-2b0d76a6/respool/internal/wire"
)

// silentPool makes a pool whose one lane has fallen silent, and whose further dials take that long, and then fail or not.
func silentPool(t *testing.T, dialTakes time.Duration, fail error, change func(*pool.Config)) (*pool.Pool, *lane.Lane) {
	t.Helper()
	o := &oracle{ping: "+PONG\r\n", list: "-ERR no"}
	dial := &wire.Config{Network: "tcp", Addr: "memory", Protocol: 2, DialFunc: o.dial}
	cfg := (&memory{}).config()
	cfg.Lane.SuspectAfter, cfg.Lane.StallLimit, cfg.Lane.ReplyTimeout = time.Second, time.Hour, time.Hour
	cfg.Max, cfg.Lanes = 4, 2
	change(&cfg)
	late := false
	cfg.Dial = func(ctx, cut context.Context, _ pool.Identity) (*wire.Conn, error) {
		if late {
			select {
			case <-time.After(dialTakes):
			case <-ctx.Done():
				return nil, ctx.Err()
			}
			if fail != nil {
				return nil, fail
			}
		}
		return wire.Dial(ctx, cut, dial)
	}
	p := pool.New(cfg)
	l, err := p.Shared(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	late = true
	o.mu.Lock()
	o.mute = true
	o.mu.Unlock()
	go func() { _, _ = l.Do(context.Background(), []any{"GET", "k"}, lane.Options{Reserved: true}) }()
	for !l.Silent() {
		time.Sleep(10 * time.Millisecond)
	}
	return p, l
}

// Who would rather not stand behind a silent lane waits for the dial of another one, whatever comes of it.
func TestAwaitMovingEndsWithTheDial(t *testing.T) {
	const dialTakes, leaves = 4 * time.Second, 2 * time.Second
	for name, x := range map[string]struct {
		fail  error
		until time.Duration // when the caller leaves, or the pool closes
		close bool
		want  time.Duration
		other bool // the lane that is picked then is another one
	}{
		"it succeeds":        {want: dialTakes, other: true},
		"it fails":           {fail: errors.New("refused"), want: dialTakes},
		"the caller leaves":  {until: leaves, want: leaves},
		"the pool is closed": {until: leaves, close: true, want: leaves},
	} {
		synctest.Test(t, func(t *testing.T) {
			p, l := silentPool(t, dialTakes, x.fail, func(*pool.Config) {})
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			ended := func(ctx context.Context) {
				ended, now := context.WithCancel(ctx)
				now()
				_ = p.Close(ended)
			}
			if x.until > 0 {
				time.AfterFunc(x.until, func() {
					if x.close {
						ended(ctx)
					} else {
						cancel()
					}
				})
			}
			began := time.Now()
			if err := p.Zero().AwaitMoving(ctx, pool.Any); (err != nil) != (x.until > 0 && !x.close) {
				t.Errorf("%s: %v", name, err)
			}
			// Another dial, for the question whether the server answers, may have begun up to a second later.
			if took := time.Since(began); took < x.want || took > x.want+time.Second {
				t.Errorf("%s: it waited %v: want %v", name, took, x.want)
			}
			if got := p.Pick(pool.Any); !x.close && (got == nil || (got != l) != x.other || got.Silent() == x.other) {
				t.Errorf("%s: then another lane: %v", name, got != l)
			}
			ended(context.Background())
		})
	}
}

// These waits count as those for a conn do, and against the same bound. One that ends with its caller's time is in vain.
func TestWaitsForALaneThatMovesAreCountedAndBounded(t *testing.T) {
	const dialTakes, most = 4 * time.Second, 3
	synctest.Test(t, func(t *testing.T) {
		var began, ended atomic.Int64
		p, _ := silentPool(t, dialTakes, nil, func(c *pool.Config) {
			c.MaxWaiters = most
			c.OnEvent = func(e pool.Event) {
				switch e.Kind {
				case pool.WaitBegan:
					began.Add(1)
				case pool.WaitEnded:
					ended.Add(1)
				}
			}
		})
		before := p.Stats()
		ctx, cancel := context.WithTimeout(context.Background(), dialTakes/4)
		defer cancel()
		errs := make(chan error, most)
		for i := range most {
			of := context.Background()
			if i == 0 {
				of = ctx
			}
			go func() { errs <- p.Zero().AwaitMoving(of, pool.Any) }()
		}
		synctest.Wait()
		if st := p.Stats(); st.Waiting != most || st.Waits != before.Waits+most {
			t.Errorf("while they wait: %+v", st)
		}
		for _, wait := range []func() error{
			func() error { return p.Zero().AwaitMoving(context.Background(), pool.Any) },
			func() error { _, err := p.Acquire(context.Background()); return err },
		} {
			if err := wait(); !errors.Is(err, pool.ErrExhausted) {
				t.Errorf("one more: %v: want %v", err, pool.ErrExhausted)
			}
		}
		failed := 0
		for range most {
			if err := <-errs; errors.Is(err, context.DeadlineExceeded) {
				failed++
			} else if err != nil {
				t.Error(err)
			}
		}
		st := p.Stats()
		if failed != 1 || st.Waiting != 0 || st.Waits != before.Waits+most || st.FailedWaits != before.FailedWaits+1 || began.Load() != int64(st.Waits) || ended.Load() != int64(st.Waits) {
			t.Errorf("%d failed, %d waits began, %d ended, and then: %+v", failed, began.Load(), ended.Load(), st)
		}
		if waited := st.Waited - before.Waited; waited < 2*dialTakes || st.LongestWait < dialTakes {
			t.Errorf("they waited %v, the longest %v", waited, st.LongestWait)
		}
		now, end := context.WithCancel(context.Background())
		end()
		_ = p.Close(now)
	})
}
