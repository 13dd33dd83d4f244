package pool_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/pool"
	"github.com/seed-2b0d76a6/respool/internal/wire"
)

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
			o := &oracle{ping: "+PONG\r\n", list: "-ERR no"}
			dial := &wire.Config{Network: "tcp", Addr: "memory", Protocol: 2, DialFunc: o.dial}
			cfg := (&memory{}).config()
			cfg.Lane.SuspectAfter, cfg.Lane.StallLimit, cfg.Lane.ReplyTimeout = time.Second, time.Hour, time.Hour
			cfg.Max, cfg.Lanes = 4, 2
			late := false
			cfg.Dial = func(ctx, cut context.Context, _ pool.Key) (*wire.Conn, error) {
				if late {
					select {
					case <-time.After(dialTakes):
					case <-ctx.Done():
						return nil, ctx.Err()
					}
					if x.fail != nil {
						return nil, x.fail
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
			p.Zero().AwaitMoving(ctx, pool.Any)
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
