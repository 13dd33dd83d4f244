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

// A node that takes another role closes the conns of its old role: those without a pending reply at once, and none of the
// others.
func TestAPoolRetiresTheConnsOfOneMode(t *testing.T) {
	for _, replica := range []bool{true, false} {
		inTown(t, 8, nil, func(t *testing.T, w *town, p *pool.Pool) {
			ctx := context.Background()
			old, kept := p.Readers(), p.Zero()
			if !replica {
				old, kept = kept, old
			}
			for _, g := range []*pool.Subpool{old, kept} {
				if err := g.WarmLanes(ctx, 1); err != nil {
					t.Fatal(err)
				}
			}
			idle, err := old.Acquire(ctx)
			if err != nil {
				t.Fatal(err)
			}
			idle.Release()
			w.gate = make(chan struct{})
			old.Wish() // it has a lane
			waiting := make(chan error, 1)
			go func() {
				_, err := p.Subpool(pool.Identity{User: "alice", Replica: replica}).Shared(ctx)
				waiting <- err
			}()
			synctest.Wait()
			p.Retire(replica, time.Minute)
			if err := <-waiting; !errors.Is(err, pool.ErrSuspended) {
				t.Errorf("a waiter got %v", err)
			}
			close(w.gate)
			synctest.Wait()
			if old.Pick(pool.Any) != nil || kept.Pick(pool.Any) == nil {
				t.Errorf("replica %v: the old lane is open, or the other one is closed", replica)
			}
			if st := p.Stats(); st.Lanes != 1 || st.Sockets() != 1 {
				t.Errorf("replica %v: %+v", replica, st)
			}
			if l, err := old.Shared(ctx); err != nil {
				t.Errorf("a later caller got %v", err)
			} else if _, err := l.Do(ctx, []any{"PING"}, lane.Options{Reserved: true}); err != nil {
				t.Error(err)
			}
			p.Retire(replica, 0)
			p.Retire(replica, 0)
		})
	}
}

// A wish opens a lane if a place is free, and asks again after a failure.
func TestAWishOpensALane(t *testing.T) {
	inTown(t, 2, nil, func(t *testing.T, w *town, p *pool.Pool) {
		ctx := context.Background()
		w.down = true
		p.Readers().Wish()
		synctest.Wait()
		if p.Readers().Pick(pool.Any) != nil || p.Stats().DialFailures != 1 {
			t.Fatalf("%+v", p.Stats())
		}
		w.set(func(w *town) { w.down = false })
		p.Readers().Wish() // the pause after the failure is not over
		time.Sleep(5 * time.Second)
		var held []*pool.Conn
		for range 2 {
			p.Readers().Wish()
			synctest.Wait()
			if p.Readers().Pick(pool.Any) == nil || p.Stats().Lanes != 1 {
				t.Errorf("%+v", p.Stats())
			}
		}
		c, err := p.Acquire(ctx)
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, c)
		p.Subpool(alice).Wish()
		synctest.Wait()
		if st := p.Stats(); st.Lanes != 1 || st.Dedicated != 1 {
			t.Errorf("a wish without a free place: %+v", st)
		}
		for _, c := range held {
			c.Release()
		}
		p.Subpool(alice).Wish() // no place is free: the idle conn keeps its own
		synctest.Wait()
		if err := p.Readers().WarmLanes(ctx, 1); err != nil {
			t.Error(err)
		}
	})
}

// The lanes of a pool without a guaranteed place make room for the callers of other pools, and the others keep theirs.
func TestAPoolWithoutAGuaranteedPlaceMakesRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const primary, replica = 0, 1
		f := newFleet(2, 4, 1, 2)
		ctx := context.Background()
		f.pools[replica].Guarantee(false)
		if err := f.pools[primary].Warm(ctx); err != nil {
			t.Fatal(err)
		}
		if err := f.pools[replica].Readers().WarmLanes(ctx, 1); err != nil || f.pools[replica].Stats().Lanes != 1 {
			t.Fatalf("%v, %+v", err, f.pools[replica].Stats())
		}
		leased, err := f.pools[primary].Acquire(ctx)
		if err != nil {
			t.Fatal(err)
		}
		f.pools[replica].Readers().Wish()
		synctest.Wait()
		if a, b := f.pools[primary].Stats(), f.pools[replica].Stats(); a.Lanes != 1 || a.Dedicated != 1 || b.Sockets() != 0 {
			t.Errorf("while a caller has leased a conn: %+v and %+v", a, b)
		}
		leased.Destroy("done")
		synctest.Wait()
		f.pools[replica].Readers().Wish()
		synctest.Wait()
		if b := f.pools[replica].Stats(); b.Lanes != 1 {
			t.Errorf("after the lease: %+v", b)
		}
		f.rest("the end")
		f.close()
		for _, failure := range f.failed {
			t.Error(failure)
		}
	})
}
