package pool_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/pool"
)

// shareAs has one command run on a lane that works as k.
func shareAs(t *testing.T, p *pool.Pool, k pool.Identity) {
	t.Helper()
	l, err := p.Subpool(k).Shared(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	wantKey(t, l, lane.Options{Reserved: true}, k)
}

// record notes who was served, in order.
type record struct {
	mu    sync.Mutex
	names []string
	wg    sync.WaitGroup
}

func (r *record) add(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.names = append(r.names, name)
}

// line makes waiters line up one by one: capitals wait for a conn for
// themselves and small letters for a lane; a is alice, and so on.
func (r *record) line(t *testing.T, p *pool.Pool, names ...string) {
	t.Helper()
	for _, name := range names {
		k, conn := keyOf(name[0])
		r.wg.Go(func() {
			if !conn {
				l, err := p.Subpool(k).Shared(context.Background())
				if err != nil {
					t.Error(err)
					return
				}
				r.add(name)
				wantKey(t, l, lane.Options{Reserved: true}, k)
				return
			}
			c := acquireAs(t, p, k)
			r.add(name)
			c.Release()
		})
		synctest.Wait()
	}
}

func keyOf(letter byte) (k pool.Identity, conn bool) {
	keys := map[byte]pool.Identity{'a': alice, 'b': bob, 'c': carol, 'z': {}}
	return keys[letter|0x20], letter < 'a'
}

func (r *record) want(t *testing.T, names ...string) {
	t.Helper()
	r.wg.Wait()
	if !slices.Equal(r.names, names) {
		t.Errorf("served were %v: want %v", r.names, names)
	}
}

func TestSubpoolsOnOnePlaceTakeTurns(t *testing.T) {
	inTown(t, 1, nil, func(t *testing.T, w *town, p *pool.Pool) {
		held := acquireAs(t, p, alice)
		var r record
		r.line(t, p, "B1", "A1", "B2", "Z1", "a1", "B3", "b1", "A2", "c1")
		held.Release()
		r.want(t, "B1", "A1", "B2", "Z1", "a1", "B3", "b1", "A2", "c1")
		if st := p.Stats(); st.Dials != 1 || st.IdentitySwitches < 7 || st.Waiting != 0 {
			t.Errorf("%+v", st)
		}
	})
}

// A lane that is there at last serves all who wait for it at that moment, also
// those who came after another subpool's waiters.
func TestALaneServesAllWhoWaitForItBeforeTheNextTurn(t *testing.T) {
	inTown(t, 1, nil, func(t *testing.T, w *town, p *pool.Pool) {
		held := acquireAs(t, p, alice)
		var r record
		r.line(t, p, "b", "c", "b", "c", "a", "b")
		held.Release()
		r.wg.Wait()
		if slices.Sort(r.names[:3]); !slices.Equal(r.names, []string{"b", "b", "b", "c", "c", "a"}) {
			t.Errorf("served were %v", r.names)
		}
		if st := p.Stats(); st.IdentitySwitches != 3 {
			t.Errorf("%d identity switches: want one a turn", st.IdentitySwitches)
		}
	})
}

// An idle conn goes to who waits longest, not to a younger waiter of its own
// subpool.
func TestTheLongestWaiterOfAllSubpoolsGetsTheConn(t *testing.T) {
	inTown(t, 3, nil, func(t *testing.T, w *town, p *pool.Pool) {
		one, two := acquireAs(t, p, alice), acquireAs(t, p, alice)
		var r record
		r.line(t, p, "B1", "A1", "A2", "B2")
		one.Release()
		r.want(t, "B1", "A1", "A2", "B2")
		two.Release()
	})
}

func TestALaneIsNeverStarvedByLeasedConns(t *testing.T) {
	inTown(t, 3, nil, func(t *testing.T, w *town, p *pool.Pool) {
		held := []*pool.Conn{acquireAs(t, p, alice), acquireAs(t, p, bob)}
		var waiters record
		waiters.line(t, p, "A", "B", "C")
		for range 3 {
			for _, k := range []pool.Identity{carol, alice, {}, bob} {
				shareAs(t, p, k)
			}
		}
		if st := p.Stats(); st.Waiting != 3 || st.Dedicated != 2 || st.Subpools != 3 {
			t.Errorf("%+v", st)
		}
		for _, c := range held {
			c.Release()
		}
		waiters.wg.Wait()
	})
}

// Rule by rule: what a subpool without a conn gets.
func TestTheConnForASubpoolWithoutOne(t *testing.T) {
	inTown(t, 4, func(c *pool.Config) { c.Lanes = 2 }, func(t *testing.T, w *town, p *pool.Pool) {
		if err := p.Warm(context.Background()); err != nil { // two lanes
			t.Fatal(err)
		}
		acquireAs(t, p, alice).Release()
		state := func(what string, dials, switches uint64, lanes, idle int) {
			t.Helper()
			synctest.Wait()
			if st := p.Stats(); st.Dials != dials || st.IdentitySwitches != switches || st.Lanes != lanes || st.Idle != idle {
				t.Errorf("%s: want %d dials, %d identity switches, %d lanes, %d idle: %+v", what, dials, switches, lanes, idle, st)
			}
		}
		state("at first", 3, 0, 2, 1)
		acquireAs(t, p, bob).Release()
		state("a free place", 4, 0, 2, 2)
		shareAs(t, p, carol)
		state("another's idle conn", 4, 1, 3, 1)
		shareAs(t, p, bob)
		state("its own, as the other one was idle longer", 4, 1, 4, 0)
		time.Sleep(time.Second)
		shareAs(t, p, pool.Identity{})
		shareAs(t, p, bob)
		time.Sleep(time.Second)
		shareAs(t, p, alice)
		state("one lane of two", 4, 2, 4, 0)
		if p.Subpool(bob).Pick(pool.Any) == nil || p.Subpool(carol).Pick(pool.Any) == nil || p.Pick(pool.Any) == nil {
			t.Error("a subpool lost its only lane though another had two")
		}
		time.Sleep(time.Second)
		shareAs(t, p, pool.Identity{})
		time.Sleep(time.Second)
		shareAs(t, p, pool.Identity{DB: 7})
		state("the lane used longest ago", 4, 3, 4, 0)
		if p.Subpool(carol).Pick(pool.Any) != nil || p.Subpool(bob).Pick(pool.Any) == nil {
			t.Error("the lane taken was not the one used longest ago")
		}
	})
}

// One waiter costs the others one conn.
func TestNoMoreIsTakenAwayThanIsNeeded(t *testing.T) {
	for _, switches := range []bool{true, false} {
		inTown(t, 4, func(c *pool.Config) {
			if c.Lanes = 4; !switches {
				c.SwitchIdentity = nil
			}
		}, func(t *testing.T, w *town, p *pool.Pool) {
			if err := p.Warm(context.Background()); err != nil {
				t.Fatal(err)
			}
			shareAs(t, p, alice)
			synctest.Wait()
			if st := p.Stats(); st.Lanes != 4 || st.Idle != 0 {
				t.Errorf("%+v", st)
			}
			acquireAs(t, p, alice).Release()
			acquireAs(t, p, bob).Release()
			synctest.Wait()
			if st := p.Stats(); st.Lanes != 3 || st.Idle != 1 || st.Subpools != 3 {
				t.Errorf("%+v", st)
			}
		})
	}
}

// What is on its way to a waiter counts, however often the pool looks.
func TestWhatComesAnywayCounts(t *testing.T) {
	resizes := func(p *pool.Pool, n int) {
		for range 3 {
			p.Resize(n)
		}
		synctest.Wait()
	}
	acquire := func(t *testing.T, p *pool.Pool, k pool.Identity) chan struct{} {
		served := make(chan struct{})
		go func() {
			acquireAs(t, p, k).Release()
			close(served)
		}()
		synctest.Wait()
		return served
	}
	inTown(t, 3, func(c *pool.Config) { c.Lanes = 3 }, func(t *testing.T, w *town, p *pool.Pool) {
		if err := p.Warm(context.Background()); err != nil {
			t.Fatal(err)
		}
		l, err := p.Shared(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		served := acquire(t, p, alice) // drains that lane
		resizes(p, 3)
		if st := p.Stats(); st.Waiting != 1 || st.Lanes != 3 {
			t.Errorf("more lanes than one drained: %+v", st)
		}
		l.Unreserve()
		<-served
	})
	inTown(t, 3, func(c *pool.Config) { c.SwitchIdentity = nil }, func(t *testing.T, w *town, p *pool.Pool) {
		shareAs(t, p, pool.Identity{})
		one, two := acquireAs(t, p, alice), acquireAs(t, p, alice)
		one.Release()
		two.Release()
		w.linger = time.Second
		served := acquire(t, p, bob)
		resizes(p, 3)
		if st := p.Stats(); st.Closing != 1 || st.Idle != 1 {
			t.Errorf("more conns than one were closed: %+v", st)
		}
		<-served
	})
}

// A subpool's own only lane is the last to be leased to it, and one that is in use
// the last but one.
func TestTheCheapestLaneIsDrained(t *testing.T) {
	inTown(t, 3, nil, func(t *testing.T, w *town, p *pool.Pool) {
		var busy sync.WaitGroup
		for _, k := range []pool.Identity{alice, bob, carol} {
			shareAs(t, p, k)
			if k == bob {
				busy.Go(func() { _, _ = p.Subpool(k).Pick(pool.Any).Do(context.Background(), []any{"HOLD"}, lane.Options{}) })
			}
			time.Sleep(time.Second)
		}
		acquireAs(t, p, alice).Release()
		if p.Subpool(alice).Pick(pool.Any) == nil || p.Subpool(bob).Pick(pool.Any) == nil || p.Subpool(carol).Pick(pool.Any) != nil {
			t.Error("it was not the lane on which nothing is due")
		}
		busy.Wait()
	})
}

// A freed conn goes to the longest waiter, although a dial for that waiter is in flight.
func TestWhateverComesFirstGoesToTheFirst(t *testing.T) {
	inTown(t, 3, nil, func(t *testing.T, w *town, p *pool.Pool) {
		held := acquireAs(t, p, alice)
		w.shut(true)
		var r record
		r.line(t, p, "A1", "A2", "B1")
		held.Release()
		synctest.Wait()
		w.shut(false)
		r.want(t, "A1", "A2", "B1")
	})
}

// What was made for a subpool serves it, even if he for whom it was made has
// left: or where callers leave early nobody would ever be served.
func TestASwitchedConnServesItsSubpoolFirst(t *testing.T) {
	inTown(t, 1, nil, func(t *testing.T, w *town, p *pool.Pool) {
		acquireAs(t, p, alice).Release()
		w.shut(true)
		ctx, cancel := context.WithCancel(context.Background())
		left := make(chan error)
		go func() {
			_, err := p.Subpool(bob).Acquire(ctx)
			left <- err
		}()
		synctest.Wait()
		cancel()
		if err := <-left; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		var r record
		r.line(t, p, "C1", "B1", "B2")
		w.shut(false)
		r.want(t, "B1", "C1", "B2")
	})
}

// With one subpool in use, the first conn is its lane, unless it has to serve
// both kinds of callers: then they take turns.
func TestTheTurnsOfOneSubpool(t *testing.T) {
	for _, c := range []struct {
		limit         int
		asked, served []string
	}{
		{1, []string{"A1", "a1", "A2", "a2"}, []string{"A1", "a1", "A2", "a2"}},
		{2, []string{"A1", "A2", "a1"}, []string{"a1", "A1", "A2"}},
	} {
		inTown(t, c.limit, func(c *pool.Config) { c.DialParallel = 1 }, func(t *testing.T, w *town, p *pool.Pool) {
			w.shut(true)
			var r record
			r.line(t, p, c.asked...)
			w.shut(false)
			r.want(t, c.served...)
		})
	}
}

// Without SwitchIdentity the conn of another identity is closed, and the turns are the same.
func TestWithoutIdentitySwitchesConnsAreRedialed(t *testing.T) {
	inTown(t, 1, func(c *pool.Config) { c.SwitchIdentity = nil }, func(t *testing.T, w *town, p *pool.Pool) {
		held := acquireAs(t, p, alice)
		var r record
		r.line(t, p, "B1", "A1", "b1", "a1", "Z1")
		held.Release()
		r.want(t, "B1", "A1", "b1", "a1", "Z1")
		if st := p.Stats(); st.Dials != 6 || st.IdentitySwitches != 0 {
			t.Errorf("%+v", st)
		}
	})
}

// A server that takes no more clients refuses everybody. What conns there are
// then go round.
func TestAFullServersConnsGoRound(t *testing.T) {
	inTown(t, 4, nil, func(t *testing.T, w *town, p *pool.Pool) {
		shareAs(t, p, alice)
		shareAs(t, p, bob)
		w.set(func(w *town) { w.full = true })
		for _, k := range []pool.Identity{carol, alice, {}, bob} {
			shareAs(t, p, k)
			acquireAs(t, p, k).Release()
		}
		if st := p.Stats(); st.LastDialError == nil || st.Dials != 2 || st.IdentitySwitches == 0 {
			t.Errorf("%+v", st)
		}
	})
}

// While the server takes no more clients, the last lane is leased to nobody.
func TestAFullServersLastLaneStays(t *testing.T) {
	inTown(t, 4, nil, func(t *testing.T, w *town, p *pool.Pool) {
		shareAs(t, p, alice)
		w.set(func(w *town) { w.full = true })
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if _, err := p.Subpool(bob).Acquire(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if p.Subpool(alice).Pick(pool.Any) == nil {
			t.Error("the last lane was leased")
		}
	})
}

func TestManyIdentitiesShareFewPlaces(t *testing.T) {
	inTown(t, 4, nil, func(t *testing.T, w *town, p *pool.Pool) {
		var wg sync.WaitGroup
		for i := range 200 {
			k := pool.Identity{User: fmt.Sprint("u", i%40), DB: i % 2}
			wg.Go(func() {
				for n := range 10 {
					if (i+n)%3 == 0 {
						acquireAs(t, p, k).Release()
					} else {
						shareAs(t, p, k)
					}
				}
			})
		}
		wg.Wait()
		if st := p.Stats(); st.Waiting != 0 || st.FailedWaits != 0 || st.Subpools > 4 {
			t.Errorf("%+v", st)
		}
	})
}
