package pool_test

import (
	"context"
	"errors"
	"runtime"
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
	users := d.disowned
	d.disowned = nil
	return users
}

func (d *deletion) wantReport(t *testing.T) {
	t.Helper()
	time.Sleep(6 * time.Second) // the pauses between attempts are over
	synctest.Wait()
	if got := d.reported(); len(got) != 1 || got[0] != alice.User {
		t.Fatalf("the pool reports %q: want alice", got)
	}
}

// killAll ends all connections from the server's side, as it does with those of a deleted user.
func (d *deletion) killAll() {
	d.town.mu.Lock()
	defer d.town.mu.Unlock()
	for conn := range d.town.conns {
		conn.Close()
	}
}

// fails uses a conn that the server has closed.
func (d *deletion) fails(t *testing.T, held *pool.Conn) {
	t.Helper()
	if _, err := ask(context.Background(), held.Lane(), lane.Options{}, "WHOAMI"); err == nil {
		t.Error("the server answers on a closed connection")
	}
}

// queue makes another user wait for a place, and returns the channel of the connection.
func (d *deletion) queue(t *testing.T) <-chan *pool.Conn {
	others := make(chan *pool.Conn)
	go func() {
		c, err := d.Subpool(bob).Acquire(context.Background())
		if err != nil {
			t.Error(err)
		}
		others <- c
	}()
	synctest.Wait()
	return others
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
		others := d.queue(t)
		d.delete()
		d.town.kill()
		d.fails(t, held)
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
		others := d.queue(t)
		d.town.kill()
		d.fails(t, held)
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

// Other callers may take an idle connection of the user before anybody notices that the server has closed it.
func TestADeletedUserIsReportedThoughTheLastConnGoesToOthers(t *testing.T) {
	onDeletion(t, 2, nil, func(t *testing.T, d *deletion) {
		d.Resize(3)
		a, b := acquireAs(t, d.Pool, alice), acquireAs(t, d.Pool, alice)
		b.Release()
		d.Resize(2)
		d.delete()
		d.killAll()
		d.fails(t, a)
		a.Destroy("the conn is lost")
		var others sync.WaitGroup
		for _, k := range []pool.Identity{bob, carol, bob, carol} {
			others.Go(func() {
				if l, err := d.Subpool(k).Shared(context.Background()); err == nil {
					_, _ = ask(context.Background(), l, lane.Options{Reserved: true}, "WHOAMI")
				}
			})
		}
		others.Wait()
		d.wantReport(t)
	})
}

// A server that restarts may have lost the user.
func TestADeletedUserIsReportedAfterFailedDials(t *testing.T) {
	onDeletion(t, 2, nil, func(t *testing.T, d *deletion) {
		held := acquireAs(t, d.Pool, alice)
		d.town.set(func(w *town) { w.down = true })
		d.killAll()
		d.fails(t, held)
		held.Destroy("the conn is lost")
		time.Sleep(20 * time.Second)
		if got := d.reported(); len(got) > 0 {
			t.Fatalf("the pool reports %q while the server is down", got)
		}
		d.delete()
		d.town.set(func(w *town) { w.down = false })
		time.Sleep(20 * time.Second)
		d.wantReport(t)
	})
}

// However many connections a user loses, one check waits for a place.
func TestACheckOfAUserIsOneWaiter(t *testing.T) {
	const n = 8
	onDeletion(t, n+1, func(c *pool.Config) { c.WaitTimeout = 200 * time.Millisecond }, func(t *testing.T, d *deletion) {
		var held []*pool.Conn
		for range n {
			held = append(held, acquireAs(t, d.Pool, alice))
		}
		d.town.shut(true)
		d.killAll()
		var failing sync.WaitGroup
		for _, c := range held {
			failing.Go(func() { d.fails(t, c) })
		}
		failing.Wait()
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		if n := d.Stats().Observers; n != 1 {
			t.Errorf("%d waiters: want 1", n)
		}
		d.town.shut(false)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if n, got := d.Stats().Observers, d.reported(); n != 0 || len(got) > 0 {
			t.Errorf("%d waiters, reports %q: the server accepts the user", n, got)
		}
		for _, c := range held {
			c.Destroy("the conn is lost")
		}
	})
}

// A remembered refusal is no reason to report a user that the server may accept again.
func TestAnOldRefusalDoesNotReportAUser(t *testing.T) {
	onDeletion(t, 2, func(c *pool.Config) { c.WaitTimeout = 200 * time.Millisecond }, func(t *testing.T, d *deletion) {
		held := acquireAs(t, d.Pool, alice)
		d.delete()
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		defer cancel()
		if _, err := d.Subpool(alice).Shared(ctx); err == nil {
			t.Fatal("the server gave another connection")
		}
		synctest.Wait()
		d.change(only(pool.Identity{}, "")) // the server accepts the user again, and nobody logs in
		time.Sleep(time.Minute)
		d.Resize(1)
		others := d.queue(t)
		d.tried(alice)
		d.killAll()
		d.fails(t, held)
		held.Destroy("the conn is lost")
		other := <-others
		time.Sleep(10 * time.Second)
		if n, got := d.tried(alice), d.reported(); n > 0 || len(got) > 0 {
			t.Errorf("%d attempts, reports %q: want none while others hold the only place", n, got)
		}
		other.Release()
		time.Sleep(20 * time.Second)
		if got := d.reported(); d.tried(alice) == 0 || len(got) > 0 {
			t.Errorf("reports %q: want an attempt, and no report", got)
		}
	})
}

// The lane closes its socket while another goroutine is still about to report its failure to the pool.
func TestAConnThatIsClosedBeforeItsFailureIsReported(t *testing.T) {
	var events struct {
		sync.Mutex
		closed []pool.Event
	}
	onDeletion(t, 2, func(c *pool.Config) {
		c.OnEvent = func(e pool.Event) {
			events.Lock()
			defer events.Unlock()
			if e.Kind == pool.Closed {
				events.closed = append(events.closed, e)
			}
		}
	}, func(t *testing.T, d *deletion) {
		held := acquireAs(t, d.Pool, alice)
		wait := make(chan struct{})
		held.DelayDead(func() { <-wait })
		d.delete()
		go held.Lane().Fail(errors.New("write: broken pipe"))
		synctest.Wait()
		if st := d.Stats(); st.Closing != 0 || st.Dedicated != 0 || st.Closed != 1 {
			t.Errorf("%+v: want a closed conn", st)
		}
		close(wait)
		d.wantReport(t)
		held.Destroy("the conn is lost")
		events.Lock()
		defer events.Unlock()
		if len(events.closed) != 1 || events.closed[0].Class != "dedicated" || events.closed[0].Reason != "write: broken pipe" {
			t.Errorf("events %+v", events.closed)
		}
	})
}
