package engine

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/seed-2b0d76a6/respool/internal/identity"
	"github.com/seed-2b0d76a6/respool/internal/renewal"
	"github.com/seed-2b0d76a6/respool/internal/wire"
	"github.com/seed-2b0d76a6/respool/resp"
)

// refuse makes alice a user whose only password the server refuses.
func refuse(u *identity.Users) {
	u.Enter("alice", "old")
	u.Spend("alice", "old", u.Serial())
}

func TestCloseWaitsForTheCallsAboutUsers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := New(Config{Addr: "127.0.0.1:1"})
		release := make(chan struct{})
		e.Logins().OnDisowned(func(string) { <-release })
		refuse(e.users)
		e.users.Disowned("alice")
		synctest.Wait() // the call runs
		closed := make(chan error, 1)
		go func() { closed <- e.Close(t.Context()) }()
		synctest.Wait()
		select {
		case <-closed:
			t.Fatal("Close returned while a call ran")
		default:
		}
		close(release)
		if err := <-closed; err != nil {
			t.Error(err)
		}
	})
}

// A call may close the engine: it does not wait for itself.
func TestACallAboutAUserMayCloseTheEngine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := New(Config{Addr: "127.0.0.1:1"})
		returned := make(chan error, 1)
		e.Logins().OnDisowned(func(string) { returned <- e.Close(t.Context()) })
		refuse(e.users)
		e.users.Disowned("alice")
		if err := <-returned; err != nil {
			t.Error(err)
		}
		if err := e.Close(t.Context()); err != nil || e.callbacks.Load() != 0 {
			t.Errorf("another Close returned %v, with %d calls left", err, e.callbacks.Load())
		}
	})
}

// A server closes a connection that sends more than it accepts before authentication. Clients must not cost connections.
func TestALongLoginIsRefusedWithoutTheServer(t *testing.T) {
	e := New(Config{Addr: "127.0.0.1:1"})
	defer e.Close(t.Context())
	long := strings.Repeat("x", longestLogin+1)
	for _, login := range [][2]string{{long, "p"}, {"alice", long}} {
		var se *resp.ServerError
		if _, err := e.Logins().Verify(t.Context(), login[0], login[1]); !errors.As(err, &se) || se.Code != "WRONGPASS" {
			t.Errorf("the error is %v", err)
		}
	}
	if st := e.Stats(); st.Nodes[0].Dials+st.Nodes[0].DialFailures > 0 {
		t.Error("a connection was dialed")
	}
}

func TestWhatIsKnownOfTheOwnUser(t *testing.T) {
	provider := func(context.Context) (renewal.Credentials, error) {
		return renewal.Credentials{Username: "app", Password: "p"}, nil
	}
	for _, x := range []struct {
		name  string
		cfg   Config
		user  string
		knows bool // the password
		own   bool // app with the password p is the own user
	}{
		{"no login", Config{}, "default", false, false},
		{"a password", Config{Dial: wire.Config{Password: "p"}}, "default", true, false},
		{"a user", Config{Dial: wire.Config{Username: "app", Password: "p"}}, "app", true, true},
		{"another password", Config{Dial: wire.Config{Username: "app", Password: "q"}}, "app", true, false},
		{"a provider", Config{Dial: wire.Config{Username: "app", Password: "p"}, Credentials: provider}, "", false, false},
	} {
		x.cfg.Addr = "127.0.0.1:1"
		e := New(x.cfg)
		l := e.Logins()
		if l.OwnUser() != x.user || l.HasPassword() != x.knows || l.IsOwn("app", "p") != x.own {
			t.Errorf("%s: user %q, password known: %v, app is the own user: %v", x.name, l.OwnUser(), l.HasPassword(), l.IsOwn("app", "p"))
		}
		if err := e.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}
