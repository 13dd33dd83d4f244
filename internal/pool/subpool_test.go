package pool_test

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/pool"
	"github.com/seed-2b0d76a6/respool/resp"
)

var (
	alice = pool.Identity{User: "alice", Proto: 2}
	bob   = pool.Identity{User: "bob", DB: 3, Proto: 2}
	carol = pool.Identity{User: "carol", Proto: 3}
	// mallory has the wrong password.
	mallory = pool.Identity{User: "mallory"}
)

// inTown runs fn under a fake clock with a pool that is closed afterwards.
func inTown(t *testing.T, limit int, change func(*pool.Config), fn func(t *testing.T, w *town, p *pool.Pool)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newTown()
		cfg := w.config(limit)
		if change != nil {
			change(&cfg)
		}
		p := pool.New(cfg)
		fn(t, w, p)
		if err := p.Close(context.Background()); err != nil {
			t.Errorf("close: %v", err)
		}
		synctest.Wait()
		if n := w.sockets(); n != 0 {
			t.Errorf("%d sockets are open after Close", n)
		}
		if w.peak > limit {
			t.Errorf("%d sockets at peak: want %d at most", w.peak, limit)
		}
		if st := p.Stats(); st.Subpools != 0 || st.Dialing != 0 {
			t.Errorf("after Close: %+v", st)
		}
	})
}

// wantKey asks the server as whom a conn works.
func wantKey(t *testing.T, l *lane.Lane, opt lane.Options, k pool.Identity) {
	t.Helper()
	if name, err := ask(context.Background(), l, opt, "WHOAMI"); err != nil || name != nameOf(k) {
		t.Errorf("the conn works as %q, %v: want %q", name, err, nameOf(k))
	}
}

// acquireAs leases a conn that works as k.
func acquireAs(t *testing.T, p *pool.Pool, k pool.Identity) *pool.Conn {
	t.Helper()
	c, err := p.Subpool(k).Acquire(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	wantKey(t, c.Lane(), lane.Options{}, k)
	if c.Identity() != k {
		t.Errorf("the conn says %v: want %v", c.Identity(), k)
	}
	return c
}

func TestAConnThatCannotSwitchIdentityIsReplaced(t *testing.T) {
	inTown(t, 1, nil, func(t *testing.T, w *town, p *pool.Pool) {
		w.broken = true
		acquireAs(t, p, alice).Release()
		acquireAs(t, p, bob).Release()
		if st := p.Stats(); st.Dials != 2 || st.IdentitySwitches != 0 || st.LastDialError != nil {
			t.Errorf("%+v", st)
		}
	})
}

func TestAWrongPasswordFailsAlone(t *testing.T) {
	for limit := 1; limit <= 3; limit++ { // with few places conns switch identity, with more they are dialed
		inTown(t, limit, nil, func(t *testing.T, w *town, p *pool.Pool) {
			shareAs(t, p, alice)
			for _, k := range []pool.Identity{mallory, {User: "alice", DB: 99}} {
				var wg sync.WaitGroup
				for range 5 {
					wg.Go(func() {
						var se *resp.ServerError
						if _, err := p.Subpool(k).Acquire(context.Background()); !errors.As(err, &se) {
							t.Errorf("got %v, want what the server said", err)
						}
						if _, err := p.Subpool(k).Shared(context.Background()); !errors.As(err, &se) {
							t.Errorf("got %v, want what the server said", err)
						}
					})
					wg.Go(func() {
						shareAs(t, p, bob)
						acquireAs(t, p, alice).Release()
					})
				}
				wg.Wait()
			}
			if st := p.Stats(); st.LastDialError != nil || st.Waiting != 0 || len(w.trouble) != 0 {
				t.Errorf("%+v, trouble %v", st, w.trouble)
			}
		})
	}
}

func TestServerRefusalsOfAnIdentitySwitchApply(t *testing.T) {
	inTown(t, 1, nil, func(t *testing.T, w *town, p *pool.Pool) {
		acquireAs(t, p, alice).Release()
		var se *resp.ServerError
		if _, err := p.Subpool(mallory).Acquire(context.Background()); !errors.As(err, &se) {
			t.Errorf("got %v, want what the server said", err)
		}
		if st := p.Stats(); st.Dials != 1 || st.DialFailures != 0 {
			t.Errorf("the key was dialed as well: %+v", st)
		}
	})
}

func TestUnusedSubpoolsAreForgotten(t *testing.T) {
	inTown(t, 3, func(c *pool.Config) { c.IdleTimeout = time.Minute }, func(t *testing.T, w *town, p *pool.Pool) {
		shareAs(t, p, pool.Identity{})
		for i := range 1000 {
			k := pool.Identity{User: "u" + strconv.Itoa(i)}
			shareAs(t, p, k)
			acquireAs(t, p, k).Release()
			if n := p.Stats().Subpools; n > 3 {
				t.Fatalf("%d subpools, on 3 places", n)
			}
		}
		time.Sleep(5 * time.Minute)
		if st := p.Stats(); st.Subpools > 1 || st.Idle != 0 || st.Lanes != st.Subpools {
			t.Errorf("long after the last use, except for the lane of the zero identity: %+v", st)
		}
	})
}

func TestAKeptSubpoolStaysUsable(t *testing.T) {
	inTown(t, 2, nil, func(t *testing.T, w *town, p *pool.Pool) {
		first := p.Subpool(alice)
		twin := p.Subpool(alice) // no conn yet, so the pool knows neither
		share := func(g *pool.Subpool) {
			t.Helper()
			l, err := g.Shared(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			wantKey(t, l, lane.Options{Reserved: true}, alice)
		}
		for range 3 {
			share(first)
			if p.Subpool(alice) != first {
				t.Error("a key in use got another subpool")
			}
			share(twin)
			if l := first.Pick(pool.Any); l == nil || l != twin.Pick(pool.Any) || first.Owner() != twin.Owner() {
				t.Error("two subpools of one identity have different lanes")
			}
			shareAs(t, p, bob)
			shareAs(t, p, carol)
			if first.Pick(pool.Any) != nil || twin.Pick(pool.Any) != nil {
				t.Error("a subpool has a lane that is another's now")
			}
			first, twin = twin, first
		}
	})
}

func TestAHangingIdentitySwitchEndsWithThePoolsUse(t *testing.T) {
	end := map[string]func(p *pool.Pool) error{
		"Close": func(p *pool.Pool) error { return p.Close(context.Background()) },
		"Close in haste": func(p *pool.Pool) error {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			if err := p.Close(ctx); err != context.Canceled {
				return err
			}
			return nil
		},
		"Suspend": func(p *pool.Pool) error {
			p.Suspend(time.Minute)
			time.Sleep(time.Second)
			synctest.Wait()
			return nil
		},
	}
	for name, end := range end {
		inTown(t, 1, nil, func(t *testing.T, w *town, p *pool.Pool) {
			acquireAs(t, p, alice).Release()
			w.shut(true)
			w.late = time.Second
			got := make(chan error, 1)
			go func() {
				_, err := p.Subpool(bob).Acquire(context.Background())
				got <- err
			}()
			synctest.Wait()
			if st := p.Stats(); w.before() != 1 || st.Dialing != 1 || st.Waiting != 1 {
				t.Errorf("%s: %+v", name, st)
			}
			if err := end(p); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if w.before() != 0 {
				t.Errorf("%s did not wait for it", name)
			}
			if err := <-got; !errors.Is(err, pool.ErrClosed) && !errors.Is(err, pool.ErrSuspended) {
				t.Errorf("%s: a waiter got %v", name, err)
			}
			synctest.Wait()
			if !p.Empty() {
				t.Errorf("%s: it is not over", name)
			}
		})
	}
}

func TestSetIdentityMovesAConnToItsSubpool(t *testing.T) {
	inTown(t, 1, nil, func(t *testing.T, w *town, p *pool.Pool) {
		c := acquireAs(t, p, alice)
		if err := become(context.Background(), c.Lane(), alice, bob); err != nil {
			t.Fatal(err)
		}
		c.SetIdentity(bob)
		if c.Identity() != bob {
			t.Errorf("the conn says %v", c.Identity())
		}
		var r record
		r.line(t, p, "A1", "B1")
		c.Release()
		r.want(t, "A1", "B1")
		acquireAs(t, p, bob).Release()
		if st := p.Stats(); st.IdentitySwitches != 2 || st.Dials != 1 || st.Subpools != 1 {
			t.Errorf("%+v", st)
		}
		c.SetIdentity(carol) // it is not held any more
		acquireAs(t, p, bob).Release()
		if st := p.Stats(); st.IdentitySwitches != 2 {
			t.Errorf("%+v", st)
		}
	})
}

func TestASecondReleaseTakesTheConnFromNobody(t *testing.T) {
	inTown(t, 1, nil, func(t *testing.T, w *town, p *pool.Pool) {
		first := acquireAs(t, p, alice)
		first.Release()
		second := acquireAs(t, p, alice)
		first.Release()
		first.Destroy("twice")
		var r record
		r.line(t, p, "B1")
		wantKey(t, second.Lane(), lane.Options{}, alice)
		if st := p.Stats(); st.Dedicated != 1 || st.Waiting != 1 {
			t.Errorf("%+v", st)
		}
		second.Release()
		r.want(t, "B1")
	})
}

func TestPushesReachTheHolderAloneWhileHeHolds(t *testing.T) {
	inTown(t, 1, nil, func(t *testing.T, w *town, p *pool.Pool) {
		pushes := 0
		shout := func(l *lane.Lane) {
			if _, err := ask(context.Background(), l, lane.Options{}, "SHOUT"); err != nil {
				t.Error(err)
			}
		}
		c := acquireAs(t, p, alice)
		c.Lane().OnPush(func([]byte) { pushes++ }, false)
		shout(c.Lane())
		c.Release()
		for _, k := range []pool.Identity{alice, bob} {
			c := acquireAs(t, p, k)
			shout(c.Lane())
			c.Release()
		}
		if pushes != 1 {
			t.Errorf("a holder got %d pushes: want the one that came while he held the conn", pushes)
		}
	})
}

func TestRedialReplacesAConnThatSwitchesIdentity(t *testing.T) {
	inTown(t, 1, nil, func(t *testing.T, w *town, p *pool.Pool) {
		acquireAs(t, p, alice).Release()
		w.shut(true)
		var wg sync.WaitGroup
		wg.Go(func() { acquireAs(t, p, bob).Release() })
		synctest.Wait()
		if w.before() != 1 {
			t.Fatal("no conn switches identity")
		}
		p.Redial("redialed")
		w.shut(false)
		wg.Wait()
		if st := p.Stats(); st.Dials != 2 || st.Closed != 1 {
			t.Errorf("the old conn was leased: %+v", st)
		}
	})
}
