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
	"github.com/seed-2b0d76a6/respool/internal/wire"
	"github.com/seed-2b0d76a6/respool/resp"
)

// guard stands before a town and refuses identities at dials and identity switches.
type guard struct {
	town *town

	mu       sync.Mutex
	refuse   func(k pool.Identity) string // the server's error; empty: none
	attempts map[pool.Identity]int        // dials and identity switches
}

func (g *guard) check(k pool.Identity) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.attempts[k]++
	if text := g.refuse(k); text != "" {
		return resp.NewServerError(text)
	}
	return nil
}

// tried is how often the server was asked as k since the last call.
func (g *guard) tried(k pool.Identity) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := g.attempts[k]
	delete(g.attempts, k)
	return n
}

func (g *guard) change(refuse func(k pool.Identity) string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.refuse = refuse
}

// behindGuard runs fn with a pool of which refuse says who is refused.
func behindGuard(t *testing.T, limit int, refuse func(k pool.Identity) string, change func(*pool.Config), fn func(t *testing.T, g *guard, p *pool.Pool)) {
	t.Helper()
	g := &guard{refuse: refuse, attempts: map[pool.Identity]int{}}
	inTown(t, limit, func(c *pool.Config) {
		dial, switchIdentity := c.Dial, c.SwitchIdentity
		c.Dial = func(ctx, cut context.Context, k pool.Identity) (*wire.Conn, error) {
			if err := g.check(k); err != nil {
				return nil, &wire.Error{Op: wire.OpHandshake, Addr: "memory", Err: err}
			}
			return dial(ctx, cut, k)
		}
		c.SwitchIdentity = func(ctx context.Context, l *lane.Lane, from, to pool.Identity) error {
			if err := g.check(to); err != nil && from.User != to.User {
				return &pool.Remains{Identity: from, Err: err}
			}
			return switchIdentity(ctx, l, from, to)
		}
		if change != nil {
			change(c)
		}
	}, func(t *testing.T, w *town, p *pool.Pool) {
		g.town = w
		fn(t, g, p)
	})
}

// only refuses one key.
func only(k pool.Identity, text string) func(pool.Identity) string {
	return func(other pool.Identity) string {
		if other == k {
			return text
		}
		return ""
	}
}

// besiege asks for conns of a key every few milliseconds for a time, and wants
// each caller to get the server's refusal at once.
func besiege(t *testing.T, p *pool.Pool, k pool.Identity, code string, limit time.Duration) {
	t.Helper()
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(25 * time.Millisecond) {
		for _, ask := range []func() error{
			func() error { _, err := p.Subpool(k).Shared(context.Background()); return err },
			func() error { _, err := p.Subpool(k).Acquire(context.Background()); return err },
			func() error { _, err := p.Subpool(k).AcquireSubscriber(context.Background()); return err },
		} {
			began := time.Now()
			var se *resp.ServerError
			if err := ask(); !errors.As(err, &se) || se.Code != code || !pool.Refused(err) {
				t.Fatalf("got %v, want the server's %s", err, code)
			}
			if took := time.Since(began); took > 0 {
				t.Fatalf("the refusal took %v", took)
			}
		}
	}
}

func TestARefusedIdentityIsTriedOnceOrTwiceASecond(t *testing.T) {
	for _, k := range []pool.Identity{{}, alice, bob} {
		for _, text := range []string{"WRONGPASS invalid", "NOAUTH Authentication required.", "NOPERM no select", "ERR DB index is out of range"} {
			for _, limit := range []int{1, 8} {
				behindGuard(t, limit, only(k, text), nil, func(t *testing.T, g *guard, p *pool.Pool) {
					shareAs(t, p, carol) // with one place there are only identity switches
					code := resp.NewServerError(text).Code
					besiege(t, p, k, code, 10*time.Second)
					if n := g.tried(k); n < 8 || n > 21 {
						t.Errorf("%v, limit %d, %s: %d attempts in 10 s: want one or two a second", k, limit, text, n)
					}
					st := p.Stats()
					if st.LastRefusal == nil || st.Refused < 1000 || st.LastDialError != nil {
						t.Errorf("%+v", st)
					}
					g.change(only(k, ""))
					time.Sleep(time.Second)
					shareAs(t, p, k)
					if st := p.Stats(); st.LastRefusal != nil {
						t.Errorf("it was accepted, and yet %v", st.LastRefusal)
					}
				})
			}
		}
	}
}

func TestOthersAreNotDelayedByARefusedIdentity(t *testing.T) {
	for _, k := range []pool.Identity{{}, alice} {
		behindGuard(t, 4, only(k, "WRONGPASS invalid"), nil, func(t *testing.T, g *guard, p *pool.Pool) {
			var wg sync.WaitGroup
			wg.Go(func() { besiege(t, p, k, "WRONGPASS", 10*time.Second) })
			for range 500 {
				began := time.Now()
				acquireAs(t, p, bob).Destroy("the next one is dialed")
				shareAs(t, p, carol)
				if took := time.Since(began); took > 0 {
					t.Fatalf("others waited for %v", took)
				}
				time.Sleep(20 * time.Millisecond)
			}
			wg.Wait()
		})
	}
}

// The dials of a node have a common rate. Users that are refused must not use
// it up: there may be many.
func TestManyRefusedIdentitiesLeaveTheDialsToOthers(t *testing.T) {
	refuse := func(k pool.Identity) string {
		if k != carol {
			return "WRONGPASS invalid"
		}
		return ""
	}
	behindGuard(t, 16, refuse, func(c *pool.Config) { c.DialRate = 20 }, func(t *testing.T, g *guard, p *pool.Pool) {
		ctx, cancel := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		for i := range 200 {
			wg.Go(func() {
				for ctx.Err() == nil {
					_, _ = p.Subpool(pool.Identity{User: strconv.Itoa(i)}).Acquire(ctx)
					time.Sleep(50 * time.Millisecond)
				}
			})
		}
		time.Sleep(15 * time.Second) // all have been refused once
		for range 10 {
			time.Sleep(200 * time.Millisecond)
			began := time.Now()
			acquireAs(t, p, carol).Destroy("the next one is dialed")
			if took := time.Since(began); took > 0 {
				t.Errorf("another identity waited for %v", took)
			}
		}
		cancel()
		wg.Wait()
	})
}

func TestARefusedPasswordConcernsAllDatabasesOfItsUser(t *testing.T) {
	refuse := func(k pool.Identity) string {
		if k.User == "alice" {
			return "WRONGPASS invalid"
		}
		return ""
	}
	behindGuard(t, 8, refuse, nil, func(t *testing.T, g *guard, p *pool.Pool) {
		all := 0
		for i := range 1000 {
			k := pool.Identity{User: "alice", DB: i % 16, Proto: 2 + i%2}
			if _, err := p.Subpool(k).Shared(context.Background()); !pool.Refused(err) {
				t.Fatalf("got %v", err)
			}
			all += g.tried(k)
			time.Sleep(10 * time.Millisecond)
		}
		if all < 5 || all > 21 {
			t.Errorf("%d attempts in 10 s: want one or two a second", all)
		}
	})
}

// A server that runs a script too long answers no SELECT. It may be ready again soon.
func TestABusyServerIsTriedAgainSoonAndKeepsItsConns(t *testing.T) {
	for _, limit := range []int{1, 2, 8} {
		behindGuard(t, limit, only(bob, "BUSY a script"), nil, func(t *testing.T, g *guard, p *pool.Pool) {
			shareAs(t, p, carol)
			besiege(t, p, bob, "BUSY", 100*time.Millisecond)
			if n := g.tried(bob); n < 3 {
				t.Errorf("limit %d: %d attempts in the first 100 ms", limit, n)
			}
			besiege(t, p, bob, "BUSY", 10*time.Second)
			if n := g.tried(bob); n < 8 || n > 30 {
				t.Errorf("limit %d: %d attempts in 10 s", limit, n)
			}
			if st := p.Stats(); st.Closed != 0 {
				t.Errorf("limit %d: %d standing connections were closed", limit, st.Closed)
			}
			shareAs(t, p, carol)
		})
	}
}

func TestWhatNobodyWaitsForIsDialedOnceOrTwiceASecondToo(t *testing.T) {
	refuse := only(pool.Identity{}, "NOAUTH Authentication required.")
	behindGuard(t, 8, refuse, func(c *pool.Config) { c.MinIdle = 2 }, func(t *testing.T, g *guard, p *pool.Pool) {
		for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
			if err := p.Warm(context.Background()); !pool.Refused(err) {
				t.Fatalf("warm up: %v", err)
			}
			if _, err := p.Probe(context.Background(), "PING"); !pool.Refused(err) {
				t.Fatalf("probe: %v", err)
			}
		}
		if n := g.tried(pool.Identity{}); n < 15 || n > 45 {
			t.Errorf("%d attempts in 20 s", n)
		}
		time.Sleep(20 * time.Second) // MinIdle is wanted all the time
		if n := g.tried(pool.Identity{}); n < 15 || n > 45 {
			t.Errorf("%d attempts in 20 s in which nobody asked", n)
		}
		g.change(only(pool.Identity{}, ""))
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if st := p.Stats(); st.Idle != 2 || st.LastRefusal != nil {
			t.Errorf("%+v: want 2 idle conns", st)
		}
	})
}

// A server asks for a password once: the conns that a user has work as ever, and serve all that the user's callers want.
func TestAUserWhoIsLetInNoMoreWorksOnTheConnsThatThereAre(t *testing.T) {
	for _, limit := range []int{1, 2, 8} {
		var disowned []string
		behindGuard(t, limit, func(pool.Identity) string { return "" }, func(c *pool.Config) {
			c.OnDisowned = func(user string) { disowned = append(disowned, user) }
		}, func(t *testing.T, g *guard, p *pool.Pool) {
			shareAs(t, p, alice)
			g.change(func(k pool.Identity) string {
				if k.User == alice.User {
					return "WRONGPASS invalid"
				}
				return ""
			})
			for range 20 {
				for _, k := range []pool.Identity{alice, {User: "alice", Proto: 3}, {User: "alice", DB: 3, Proto: 2}} {
					held := acquireAs(t, p, k)
					wantKey(t, held.Lane(), lane.Options{}, k)
					held.Release()
					shareAs(t, p, k)
					sub, err := p.Subpool(k).AcquireSubscriber(context.Background())
					if err != nil {
						t.Fatal(err)
					}
					sub.Release()
				}
				if limit > 2 {
					shareAs(t, p, bob) // others have room beside
				}
				time.Sleep(100 * time.Millisecond)
			}
			if st := p.Stats(); len(disowned) > 0 || limit > 1 && st.LastRefusal == nil || st.Dials > 3 {
				t.Errorf("limit %d: %v are disowned, %+v", limit, disowned, st)
			}
			acquireAs(t, p, alice).Destroy("the last one")
			synctest.Wait()
			besiege(t, p, alice, "WRONGPASS", 2*time.Second)
			if len(disowned) == 0 || disowned[0] != "alice" {
				t.Errorf("limit %d: %v are disowned: want alice", limit, disowned)
			}
		})
	}
}

func TestRefusalsOfEverNewUsersAreForgotten(t *testing.T) {
	refuse := func(pool.Identity) string { return "WRONGPASS invalid" }
	behindGuard(t, 4, refuse, func(c *pool.Config) { c.DialRate = 1e6 }, func(t *testing.T, g *guard, p *pool.Pool) {
		for i := range 5000 {
			if _, err := p.Subpool(pool.Identity{User: strconv.Itoa(i)}).Acquire(context.Background()); !pool.Refused(err) {
				t.Fatalf("got %v", err)
			}
		}
		if n := p.Refusals(); n > 1024 {
			t.Errorf("the pool remembers %d refusals", n)
		}
	})
}
