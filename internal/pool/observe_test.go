package pool_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/pool"
)

// Queries of this process wait in the same queue as callers, but no statistic and no event shows them.
func TestQueriesOfObserveAreNoCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var events atomic.Int64
		cfg := (&memory{}).config()
		cfg.Max, cfg.Lanes = 1, 1
		cfg.OnEvent = func(e pool.Event) {
			if e.Kind == pool.WaitBegan || e.Kind == pool.WaitEnded {
				events.Add(1)
			}
		}
		p := pool.New(cfg)
		held, err := p.Acquire(pool.Observe(t.Context()))
		if err != nil {
			t.Fatal(err)
		}
		wait := func(observe bool) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			if observe {
				ctx = pool.Observe(ctx)
			}
			go func() {
				defer cancel()
				if _, err := p.Acquire(ctx); err == nil {
					t.Error("there was a second connection")
				}
			}()
			synctest.Wait()
		}
		wait(true)
		if s := p.Stats(); s.Waiting != 0 || s.Observers != 1 || s.Waits != 0 {
			t.Errorf("an observer waits: %+v", s)
		}
		wait(false)
		if s := p.Stats(); s.Waiting != 1 || s.Observers != 1 || s.Waits != 1 {
			t.Errorf("an observer and a caller wait: %+v", s)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if s := p.Stats(); s.Waiting != 0 || s.Observers != 0 || s.Waits != 1 || s.FailedWaits != 1 || events.Load() != 2 {
			t.Errorf("both have left: %+v, %d events", s, events.Load())
		}
		held.Release()
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
