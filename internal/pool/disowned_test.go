package pool_test

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/pool"
)

// deletion is a pool whose server deletes the user alice. The user has clients all the time.
type deletion struct {
	*guard
	*pool.Pool

	mu       sync.Mutex
	disowned []string
}

func onDeletion(t *testing.T, limit int, change func(*pool.Config), fn func(t *testing.T, d *deletion)) {
	d := &deletion{}
	behindGuard(t, limit, only(pool.Identity{}, ""), func(c *pool.Config) {
		c.Wanted = func(user string) bool { return user == alice.User }
		c.OnDisowned = func(user string) {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.disowned = append(d.disowned, user)
		}
		if change != nil {
			change(c)
		}
	}, func(t *testing.T, g *guard, p *pool.Pool) {
		d.guard, d.Pool = g, p
		fn(t, d)
	})
}

// delete refuses the user from now on.
func (d *deletion) delete() {
	d.change(func(k pool.Identity) string {
		if k.User == alice.User {
			return "WRONGPASS invalid"
		}
		return ""
	})
}

// create accepts the user again, for a client that has logged in.
func (d *deletion) create() {
	d.change(only(pool.Identity{}, ""))
	d.Forgive(alice.User)
}

// reported returns the users that the pool has reported, once.
func (d *deletion) reported() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	users := slices.Compact(d.disowned)
	d.disowned = nil
	return users
}

func (d *deletion) wantReport(t *testing.T) {
	t.Helper()
	time.Sleep(3 * time.Second) // the pauses between attempts are over
	synctest.Wait()
	if got := d.reported(); len(got) != 1 || got[0] != alice.User {
		t.Fatalf("the pool reports %q: want alice", got)
	}
}

// The holder of a connection that the server has closed may return it before the pool sees its end.
func TestADeletedUserIsReportedThoughTheHolderClosesTheConn(t *testing.T) {
	onDeletion(t, 2, nil, func(t *testing.T, d *deletion) {
		for range 500 {
			held := acquireAs(t, d.Pool, alice)
			d.delete()
			d.town.kill()
			go func() { _, _ = ask(context.Background(), held.Lane(), lane.Options{}, "WHOAMI") }()
			for held.Lane().Depth() >= 0 { // without a wait, to be first
				runtime.Gosched()
			}
			held.Destroy("the conn is lost")
			d.wantReport(t)
			d.create()
		}
	})
}

// The server closes the connections of a deleted user one after another. Until it has closed the last one, a refusal
// of the user is no reason to report the user.
func TestADeletedUserIsReportedAfterTheLastConn(t *testing.T) {
	onDeletion(t, 3, nil, func(t *testing.T, d *deletion) {
		held := acquireAs(t, d.Pool, alice)
		d.delete()
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		defer cancel()
		if c, err := d.Subpool(alice).Acquire(ctx); err == nil {
			t.Fatalf("the server gave another connection: %v", c)
		}
		synctest.Wait()
		if d.tried(alice) == 0 || len(d.reported()) > 0 {
			t.Fatal("want a refusal, and no report while the user has a conn")
		}
		d.town.kill()
		d.wantReport(t)
		held.Destroy("the conn is lost")
	})
}

// The place of the lost connection may go to other callers, which hold it for longer than the wait timeout.
func TestADeletedUserIsReportedOnceAPlaceIsFree(t *testing.T) {
	onDeletion(t, 1, func(c *pool.Config) { c.WaitTimeout = 200 * time.Millisecond }, func(t *testing.T, d *deletion) {
		held := acquireAs(t, d.Pool, alice)
		others := make(chan *pool.Conn)
		go func() {
			c, err := d.Subpool(bob).Acquire(context.Background())
			if err != nil {
				t.Error(err)
			}
			others <- c
		}()
		synctest.Wait()
		d.delete()
		d.town.kill()
		_, _ = ask(context.Background(), held.Lane(), lane.Options{}, "WHOAMI") // it fails
		other := <-others
		held.Destroy("the conn is lost")
		time.Sleep(10 * time.Second)
		if got := d.reported(); len(got) > 0 {
			t.Fatalf("the pool reports %q, though it could not ask the server", got)
		}
		other.Release()
		d.wantReport(t)
	})
}

// The user may have no client any more, or the pool may close, while the pool waits for a place.
func TestACheckOfAUserEnds(t *testing.T) {
	var wanted sync.Map
	onDeletion(t, 1, func(c *pool.Config) {
		c.WaitTimeout = 200 * time.Millisecond
		c.Wanted = func(string) bool { _, gone := wanted.Load("gone"); return !gone }
	}, func(t *testing.T, d *deletion) {
		held := acquireAs(t, d.Pool, alice)
		d.delete()
		others := make(chan *pool.Conn)
		go func() {
			c, err := d.Subpool(bob).Acquire(context.Background())
			if err != nil {
				t.Error(err)
			}
			others <- c
		}()
		synctest.Wait()
		d.town.kill()
		_, _ = ask(context.Background(), held.Lane(), lane.Options{}, "WHOAMI") // it fails
		other := <-others
		held.Destroy("the conn is lost")
		time.Sleep(5 * time.Second)
		wanted.Store("gone", true)
		time.Sleep(2 * time.Second)
		other.Release()
		d.tried(alice)
		time.Sleep(10 * time.Second)
		if n := d.tried(alice); n > 0 || len(d.reported()) > 0 {
			t.Errorf("%d attempts for a user without clients", n)
		}
	})
}
