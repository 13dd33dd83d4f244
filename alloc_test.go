//go:build !race

// The race detector makes sync.Pool forget, so that the counts hold without it.

package respool_test

import (
	"context"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// Acquire allocates the client's Conn and the pool's Conn, and with leak detection the stack of its caller.
func TestAllocationsOfAcquire(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	for _, x := range []struct {
		leaks time.Duration
		want  float64
	}{{0, 2}, {time.Hour, 3}} {
		opt, err := respool.ParseURL(s.URL())
		if err != nil {
			t.Fatal(err)
		}
		opt.LeakThreshold = x.leaks
		c, err := respool.New(opt)
		if err != nil {
			t.Fatal(err)
		}
		ctx := context.Background()
		n := testing.AllocsPerRun(1000, func() {
			conn, err := c.Acquire(ctx)
			if err != nil {
				t.Fatal(err)
			}
			conn.Release()
		})
		if n > x.want {
			t.Errorf("leak threshold %v: Acquire and Release allocate %v times, want %v", x.leaks, n, x.want)
		}
		if err := c.Close(ctx); err != nil {
			t.Error(err)
		}
	}
}
