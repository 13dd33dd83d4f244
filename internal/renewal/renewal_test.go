package renewal_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/renewal"
	"github.com/seed-2b0d76a6/respool/internal/wire"
	"github.com/seed-2b0d76a6/respool/resp"
)

// conns is a set of connections. refusal, if set, is the answer to AUTH.
type conns struct {
	mu       sync.Mutex
	expires  []time.Time
	refusal  error
	replaced int
}

func (c *conns) Earliest() (first time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, at := range c.expires {
		if !at.IsZero() && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	return first
}

func (c *conns) Reauthenticate(ctx context.Context, as renewal.Credentials, pause func(context.Context)) (done int, failed []error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, at := range c.expires {
		switch {
		case !as.Expires.IsZero() && !at.Before(as.Expires):
		case c.refusal != nil:
			failed = append(failed, c.refusal)
		default:
			c.expires[i] = as.Expires
			done++
			pause(ctx)
		}
	}
	return done, failed
}

func (c *conns) ReplaceExpired() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.replaced++
	c.expires = slices.DeleteFunc(c.expires, func(at time.Time) bool { return !at.After(time.Now()) })
}

// state returns the number of open connections, and how often expired ones were replaced.
func (c *conns) state() (open, replaced int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.expires), c.replaced
}

// event is a report of a Renewer, and its time.
type event struct {
	renewal.Event
	at time.Time
}

// events collects the reports.
type events struct {
	mu   sync.Mutex
	list []event
}

func (e *events) add(r renewal.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = append(e.list, event{r, time.Now()})
}

func (e *events) all() []event {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.list)
}

// dial asks for the credentials of n connections, and opens them.
func dial(t *testing.T, r *renewal.Renewer, c *conns, n int) {
	t.Helper()
	login := r.Login()
	for range n {
		_, _, expires, err := login(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		c.mu.Lock()
		c.expires = append(c.expires, expires)
		c.mu.Unlock()
	}
}

const lifetime = 100 * time.Second

// lasting provides credentials with a fixed lifetime.
func lasting(context.Context) (renewal.Credentials, error) {
	return renewal.Credentials{Username: "app", Password: "token", Expires: time.Now().Add(lifetime)}, nil
}

func TestConnectionsAuthenticateAgainBeforeTheirCredentialsExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c conns
		var seen events
		r := renewal.New(lasting, &c, time.Second, seen.add)
		defer r.Stop()
		began := time.Now()
		dial(t, r, &c, 3)
		time.Sleep(2 * lifetime)
		synctest.Wait()
		list := seen.all()
		if len(list) < 2 {
			t.Fatalf("%d renewals in two lifetimes: want 2 or more", len(list))
		}
		for _, e := range list {
			if e.Err != nil || e.Renewed != 3 {
				t.Errorf("renewed %d connections: %v", e.Renewed, e.Err)
			}
		}
		if d := list[0].at.Sub(began); d < lifetime*3/4 || d > lifetime*81/100 {
			t.Errorf("the first renewal was after %v of %v", d, lifetime)
		}
		var st renewal.Stats
		r.AddTo(&st)
		if want := uint64(3 * len(list)); st.Renewals != want || st.Failures != 0 || st.LastError != nil {
			t.Errorf("%+v: want %d renewals", st, want)
		}
		if _, replaced := c.state(); replaced > 0 {
			t.Error("connections were replaced although all authenticated in time")
		}
	})
}

func TestAFailedProviderIsCalledAgainBeforeTheExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c conns
		var seen events
		down := errors.New("the vault is sealed")
		calls := 0
		provider := func(ctx context.Context) (renewal.Credentials, error) {
			if calls++; calls == 2 || calls == 3 {
				return renewal.Credentials{}, down
			}
			return lasting(ctx)
		}
		r := renewal.New(provider, &c, time.Second, seen.add)
		defer r.Stop()
		dial(t, r, &c, 1)
		time.Sleep(lifetime * 99 / 100)
		synctest.Wait()
		list := seen.all()
		if len(list) != 3 || !errors.Is(list[0].Err, down) || !errors.Is(list[1].Err, down) || list[2].Renewed != 1 {
			t.Fatalf("events %+v: want two failures and a renewal", list)
		}
		const step = 20 * time.Millisecond // the pause before a connection is part of the renewal
		if first, second := list[1].at.Sub(list[0].at), list[2].at.Sub(list[1].at); first > time.Second || second > 2*time.Second+step || second <= first/2 {
			t.Errorf("pauses %v and %v: want up to 1 s, then up to 2 s", first, second)
		}
		var st renewal.Stats
		r.AddTo(&st)
		if st.Renewals != 1 || st.Failures != 2 || st.LastError != nil {
			t.Errorf("%+v: want 1 renewal after 2 failures", st)
		}
	})
}

// A server that refuses the new credentials keeps the connections until the old ones expire. Then they are replaced.
func TestRefusedConnectionsAreReplacedWhenTheirCredentialsExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := conns{refusal: resp.NewServerError("WRONGPASS invalid username-password pair or user is disabled.")}
		var seen events
		r := renewal.New(lasting, &c, time.Second, seen.add)
		defer r.Stop()
		dial(t, r, &c, 2)
		time.Sleep(lifetime - time.Second)
		synctest.Wait()
		list := seen.all()
		if _, replaced := c.state(); replaced > 0 || len(list) == 0 || !errors.Is(list[0].Err, c.refusal) {
			t.Fatalf("before the expiry: replaced %d times, events %+v", replaced, list)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if open, replaced := c.state(); replaced == 0 || open > 0 {
			t.Errorf("after the expiry %d connections are open", open)
		}
		before := len(seen.all())
		time.Sleep(lifetime)
		synctest.Wait()
		if len(seen.all()) != before {
			t.Error("a renewal ran without connections")
		}
	})
}

// A provider with a cache may return the credentials in use. That is a failure only shortly before they expire.
func TestAProviderWithNothingNewerFailsOnlyShortlyBeforeTheExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c conns
		var seen events
		end := time.Now().Add(lifetime)
		r := renewal.New(func(context.Context) (renewal.Credentials, error) {
			return renewal.Credentials{Password: "token", Expires: end}, nil
		}, &c, 0, seen.add)
		defer r.Stop()
		dial(t, r, &c, 1)
		time.Sleep(time.Until(end) - 6*time.Second)
		synctest.Wait()
		if list := seen.all(); len(list) > 0 {
			t.Errorf("6 s before the expiry: %v", list[0].Err)
		}
		time.Sleep(6 * time.Second)
		synctest.Wait()
		if list := seen.all(); len(list) == 0 || list[0].Err == nil || !strings.Contains(list[0].Err.Error(), "as those in use do") {
			t.Errorf("at the expiry: %+v", list)
		}
	})
}

func TestStopEndsACallOfTheProvider(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c conns
		var seen events
		calls := 0
		r := renewal.New(func(ctx context.Context) (renewal.Credentials, error) {
			if calls++; calls == 1 {
				return lasting(ctx)
			}
			<-ctx.Done()
			return renewal.Credentials{}, ctx.Err()
		}, &c, 0, seen.add)
		dial(t, r, &c, 1)
		time.Sleep(lifetime * 9 / 10)
		synctest.Wait() // the provider blocks
		r.Stop()
		if list := seen.all(); calls != 2 || len(list) > 0 {
			t.Errorf("%d calls, events %+v: want 2 calls, and no event of the canceled one", calls, list)
		}
	})
}

func TestCredentialsThatDoNotExpireAreNotRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c conns
		calls := 0
		r := renewal.New(func(context.Context) (renewal.Credentials, error) {
			calls++
			return renewal.Credentials{Password: "fixed"}, nil
		}, &c, time.Second, func(e renewal.Event) { t.Errorf("event %+v", e) })
		defer r.Stop()
		dial(t, r, &c, 1)
		time.Sleep(24 * time.Hour)
		if calls != 1 {
			t.Errorf("%d calls of the provider: want the one of the dial", calls)
		}
	})
}

func TestARenewerWithoutAProviderDoesNothing(t *testing.T) {
	r := renewal.New(nil, nil, 0, nil)
	var st renewal.Stats
	r.AddTo(&st)
	r.CatchUp(t.Context(), nil)
	r.Stop()
	if r.Login() != nil || st != (renewal.Stats{}) {
		t.Errorf("it provides a login, or counts: %+v", st)
	}
}

func TestTheCommandForCredentials(t *testing.T) {
	for _, x := range []struct {
		c    renewal.Credentials
		want []any
	}{
		{renewal.Credentials{Password: "p"}, []any{"AUTH", "p"}},
		{renewal.Credentials{Username: "u", Password: "p"}, []any{"AUTH", "u", "p"}},
	} {
		if got := x.c.Auth(); !slices.Equal(got, x.want) {
			t.Errorf("%q: want %q", got, x.want)
		}
	}
}

func TestWhichConnectionsTheCredentialsOutlast(t *testing.T) {
	soon, late := time.Unix(1000, 0), time.Unix(2000, 0)
	for _, x := range []struct {
		conn, c time.Time
		want    bool
	}{
		{soon, late, true},
		{soon, time.Time{}, true},
		{soon, soon, false},
		{late, soon, false},
		{time.Time{}, late, false},
	} {
		conn := &wire.Conn{}
		conn.SetExpires(x.conn)
		if got := (renewal.Credentials{Expires: x.c}).Outlast(conn); got != x.want {
			t.Errorf("a connection until %v, credentials until %v: %v", x.conn, x.c, got)
		}
	}
}
