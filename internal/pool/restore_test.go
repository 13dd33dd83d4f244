package pool_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/pool"
)

// restoring gives a pool a Restore that works unless the test makes it fail, and counts its calls.
func restoring(fails *error, calls *int) func(*pool.Config) {
	return func(cfg *pool.Config) {
		cfg.Restore = func(ctx context.Context, l *lane.Lane, k pool.Identity) error {
			*calls++
			if *fails != nil {
				return *fails
			}
			return become(ctx, l, pool.Identity{}, k)
		}
	}
}

// soil leaves a conn as one of another user.
func soil(t *testing.T, c *pool.Conn) {
	t.Helper()
	if _, err := ask(context.Background(), c.Lane(), lane.Options{}, "AUTH", "zoe", "secret"); err != nil {
		t.Fatal(err)
	}
}

func TestADirtyConnIsRestoredAndUsedAgain(t *testing.T) {
	for limit := 1; limit <= 2; limit++ {
		var fails error
		calls := 0
		inTown(t, limit, restoring(&fails, &calls), func(t *testing.T, w *town, p *pool.Pool) {
			for range 5 {
				c := acquireAs(t, p, alice)
				soil(t, c)
				c.ReleaseDirty("it was soiled")
				c.ReleaseDirty("again") // the first call counts
				c.Release()
			}
			if st := p.Stats(); st.Dials != 1 || st.Closed != 0 {
				t.Errorf("%+v", st)
			}
		})
		if calls != 5 {
			t.Errorf("%d calls", calls)
		}
	}
}

// Whoever waits gets the conn once it is restored, and no other one is dialed for them.
func TestWhoWaitsGetsTheRestoredConn(t *testing.T) {
	var fails error
	calls := 0
	inTown(t, 4, restoring(&fails, &calls), func(t *testing.T, w *town, p *pool.Pool) {
		c := acquireAs(t, p, alice)
		soil(t, c)
		c.ReleaseDirty("it was soiled")
		acquireAs(t, p, alice).Release()
		if st := p.Stats(); st.Dials != 1 {
			t.Errorf("%+v", st)
		}
	})
}

func TestAConnThatCannotBeRestoredIsClosed(t *testing.T) {
	fails := errors.New("RESET is not known")
	calls := 0
	inTown(t, 2, restoring(&fails, &calls), func(t *testing.T, w *town, p *pool.Pool) {
		acquireAs(t, p, alice).ReleaseDirty("it was soiled")
		synctest.Wait()
		if st := p.Stats(); st.Closed != 1 {
			t.Errorf("%+v", st)
		}
		acquireAs(t, p, alice).Release()
	})
	if calls != 1 {
		t.Errorf("%d calls", calls)
	}
}

// Without a Restore, with replies due, and of a pool that is suspended, conns are closed.
func TestADirtyConnIsClosedWhereItCannotBeRestored(t *testing.T) {
	inTown(t, 2, nil, func(t *testing.T, w *town, p *pool.Pool) {
		acquireAs(t, p, alice).ReleaseDirty("it was soiled")
		synctest.Wait()
		if st := p.Stats(); st.Closed != 1 {
			t.Errorf("%+v", st)
		}
	})
	var fails error
	calls := 0
	inTown(t, 3, restoring(&fails, &calls), func(t *testing.T, w *town, p *pool.Pool) {
		c := acquireAs(t, p, alice)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		if _, err := ask(ctx, c.Lane(), lane.Options{}, "HOLD"); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		cancel()
		c.ReleaseDirty("its reply is due")
		c = acquireAs(t, p, alice)
		p.Suspend(time.Second)
		c.ReleaseDirty("it was soiled")
		synctest.Wait()
		if st := p.Stats(); st.Dedicated != 0 || st.Idle != 0 {
			t.Errorf("%+v", st)
		}
	})
	if calls != 0 {
		t.Errorf("%d calls", calls)
	}
}

// A conn that is to be replaced, or whose pool closes meanwhile, does not come back.
func TestARestoredConnDoesNotOutliveItsPool(t *testing.T) {
	inTown(t, 2, func(cfg *pool.Config) {
		cfg.Restore = func(ctx context.Context, l *lane.Lane, k pool.Identity) error {
			_, err := ask(ctx, l, lane.Options{}, "HOLD")
			return err
		}
	}, func(t *testing.T, w *town, p *pool.Pool) {
		c := acquireAs(t, p, alice)
		c.ReleaseDirty("it was soiled")
		p.Redial("redialed")
		acquireAs(t, p, alice).Release()
		if st := p.Stats(); st.Dials != 2 {
			t.Errorf("%+v", st)
		}
		acquireAs(t, p, alice).ReleaseDirty("it was soiled") // the pool closes while it is restored
	})
}
