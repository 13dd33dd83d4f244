package identity

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"

	"github.com/seed-2b0d76a6/respool/internal/pool"
	"github.com/seed-2b0d76a6/respool/internal/pubsub"
)

// A user that is deleted and created again has clients that logged in since the refusal. The refusal does not concern
// them.
func TestARefusalDoesNotDisownAUserThatLoggedInSince(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := NewUsers()
		disowned := 0
		u.Watch(func(string) { disowned++ })
		u.Enter("alice", "old")
		refused := u.loginsOf("alice")[0]
		u.Enter("alice", "old") // created again with the same password
		u.Spend("alice", refused.password, refused.serial)
		u.Disowned("alice")
		synctest.Wait()
		if disowned != 0 {
			t.Error("a client with an accepted password lost its user")
		}
		u.Spend("alice", "old", u.Serial())
		u.Disowned("alice")
		synctest.Wait()
		if disowned != 1 {
			t.Errorf("%d reports for a user that the server refuses: want 1", disowned)
		}
		u.Leave("alice")
		u.Leave("alice")
		u.Disowned("alice")
		synctest.Wait()
		if disowned != 1 {
			t.Error("a user without clients was reported")
		}
	})
}

// A user with nopass accepts any password, so the number of stored ones is bounded. The newest are tried first.
func TestOnlyTheLastPasswordsAreStored(t *testing.T) {
	u := NewUsers()
	defer u.Close(t.Context())
	for i := range 2 * mostLogins {
		u.Enter("alice", strconv.Itoa(i))
	}
	u.Enter("alice", "6")
	var stored []string
	for _, l := range u.loginsOf("alice") {
		stored = append(stored, l.password)
	}
	if want := []string{"6", "7", "5", "4"}; !slices.Equal(stored, want) {
		t.Errorf("stored %q, want %q", stored, want)
	}
	if st := u.Stats(); st != (Stats{Users: 1, Passwords: mostLogins}) {
		t.Errorf("%+v", st)
	}
}

// nowhere is a source without connections.
type nowhere struct{}

func (nowhere) AcquireSubscriber(context.Context) (*pool.Conn, error) {
	return nil, errors.New("no connection")
}

func TestHubsOfUsers(t *testing.T) {
	u := NewUsers()
	opened := 0
	open := func() *pubsub.Hub {
		opened++
		return pubsub.New(nowhere{}, pubsub.Config{})
	}
	u.Leave("nobody is called so")
	if _, err := u.Hub("alice", open).Subscribe(t.Context(), pubsub.Channel, []string{"c"}); !errors.Is(err, pool.ErrClosed) {
		t.Errorf("a user without clients may subscribe: %v", err)
	}
	u.Enter("alice", "p")
	u.Enter("alice", "p")
	opened = 0
	first := u.Hub("alice", open)
	if u.Hub("alice", open) != first || opened != 1 {
		t.Errorf("%d hubs of one user", opened)
	}
	u.Leave("alice")
	if !u.Known("alice") || u.Stats().Hubs != 1 {
		t.Error("the first client that leaves removes the user")
	}
	u.Leave("alice")
	if u.Known("alice") || u.Stats() != (Stats{}) {
		t.Errorf("the last client leaves %+v", u.Stats())
	}
	u.Enter("bob", "p")
	second := u.Hub("bob", open)
	u.Close(t.Context()) // waits for alice's hub too
	for _, h := range []*pubsub.Hub{first, second} {
		if _, err := h.Subscribe(t.Context(), pubsub.Channel, []string{"c"}); !errors.Is(err, pool.ErrClosed) {
			t.Errorf("after Close a hub accepts subscriptions: %v", err)
		}
	}
}
