package identity

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/pool"
	"github.com/seed-2b0d76a6/respool/internal/renewal"
	"github.com/seed-2b0d76a6/respool/internal/wire"
	"github.com/seed-2b0d76a6/respool/resp"
)

var wrongLogin = resp.NewServerError("WRONGPASS invalid username-password pair or user is disabled.")

// switchesOf returns a function that switches a connection without a socket. It returns the commands that the
// connection sends and the server's refusal. The server refuses AUTH of the user default while *refuses is true.
func switchesOf(t *testing.T, s *Switcher, refuses *bool) func(from, to pool.Identity) (sent []string, refusal error) {
	return func(from, to pool.Identity) (sent []string, refusal error) {
		t.Helper()
		conn := &wire.Conn{}
		conn.SetProtocol(2)
		r := &switching{s: s, conn: conn, is: from, ask: func(commands [][]any) ([]error, error) {
			refusals := make([]error, len(commands))
			for i, c := range commands {
				sent = append(sent, strings.TrimSpace(fmt.Sprintln(c...)))
				if *refuses && c[0] == "AUTH" && c[1] == "default" {
					refusals[i] = wrongLogin
				}
			}
			return refusals, nil
		}}
		refusal, err := r.to(context.Background(), to)
		if err != nil {
			t.Fatal(err)
		}
		return sent, refusal
	}
}

// The server would log AUTH with the wrong password. An engine without a login has nothing to send that the server
// could accept.
func TestAnEngineWithoutALoginSendsNoAuthAfterARefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, refuses := New(&wire.Config{}, nil, NewUsers()), true
		s.users.Enter("bob", "b")
		change := switchesOf(t, s, &refuses)
		own, alice, bob3 := pool.Identity{Proto: 2}, pool.Identity{User: "alice", Proto: 2}, pool.Identity{User: "bob", DB: 3, Proto: 2}
		s.ownLogin.note(resp.NewServerError("NOAUTH Authentication required."))
		for range 2 {
			for _, from := range []pool.Identity{alice, {User: Nobody, DB: anyDB, Proto: 2}} {
				if sent, refusal := change(from, own); len(sent) > 0 || refusal == nil {
					t.Errorf("from %q to the own user: sent %q: %v", from.User, sent, refusal)
				}
			}
			if sent, refusal := change(alice, bob3); !slices.Equal(sent, []string{"AUTH bob b", "SELECT 3"}) || refusal != nil {
				t.Errorf("to another user: sent %q: %v", sent, refusal)
			}
			time.Sleep(2 * ownRefusedFor) // only dials try again
		}
		s.ownLogin.note(nil)
		refuses = false
		if sent, refusal := change(alice, own); len(sent) != 1 || refusal != nil {
			t.Errorf("after an accepted dial: sent %q: %v", sent, refusal)
		}
	})
}

// READONLY is a part of an identity. A connection that returns to the primary's mode sends READWRITE.
func TestTheModeOfAConnectionSwitches(t *testing.T) {
	s, refuses := New(&wire.Config{Protocol: 2}, nil, NewUsers()), false
	s.users.Enter("alice", "a")
	change := switchesOf(t, s, &refuses)
	own, alice := pool.Identity{Proto: 2}, pool.Identity{User: "alice", Proto: 2}
	reads := func(id pool.Identity) pool.Identity {
		id.Replica = true
		return id
	}
	for _, x := range []struct {
		from, to pool.Identity
		want     []string
	}{
		{own, pool.Identity{Replica: true}, []string{"READONLY"}},
		{reads(own), pool.Identity{}, []string{"READWRITE"}},
		{reads(own), pool.Identity{Replica: true}, nil},
		{own, reads(alice), []string{"READONLY", "AUTH alice a"}},
		{reads(alice), alice, []string{"READWRITE"}},
		{pool.Identity{User: Nobody, Proto: 2}, pool.Identity{Replica: true}, []string{"AUTH default ", "READONLY"}},
	} {
		for i := range x.want {
			x.want[i] = strings.TrimSpace(x.want[i])
		}
		if sent, refusal := change(x.from, x.to); !slices.Equal(sent, x.want) || refusal != nil {
			t.Errorf("from %+v to %+v: sent %q, %v: want %q", x.from, x.to, sent, refusal, x.want)
		}
	}
	if s.Own(reads(own)) != (pool.Identity{Replica: true}) || s.Own(own) != (pool.Identity{}) {
		t.Error("the engine's own identity loses its mode")
	}
}

// A refused password of the engine's own user counts for a while, or until a login succeeds. Other failures do not
// concern the user.
func TestARefusedOwnUserIsSkippedForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var own ownLogin
		wrong := &wire.Error{Op: wire.OpHandshake, Err: resp.NewServerError("WRONGPASS no")}
		for _, err := range []error{nil, errors.New("connection refused"), resp.NewServerError("LOADING wait")} {
			if own.note(err); own.refused() {
				t.Errorf("%v counts as a refusal", err)
			}
		}
		if own.note(wrong); !own.refused() {
			t.Error("a refused password does not count")
		}
		if own.note(errors.New("connection refused")); !own.refused() {
			t.Error("a failed dial ends the refusal")
		}
		time.Sleep(ownRefusedFor)
		if own.refused() {
			t.Error("the user is skipped for ever")
		}
		own.note(wrong)
		if own.note(nil); own.refused() {
			t.Error("a login does not end the refusal")
		}
	})
}

// A switch to another user tries the engine's own user for HELLO and SELECT, but not again shortly after a refusal.
func TestASwitchRemembersTheRefusalOfTheOwnUser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, refuses := New(&wire.Config{}, nil, NewUsers()), true
		s.SetLogin(Login{Password: "p"})
		s.users.Enter("bob", "b")
		change := switchesOf(t, s, &refuses)
		own, alice, bob3 := pool.Identity{Proto: 2}, pool.Identity{User: "alice", Proto: 2}, pool.Identity{User: "bob", DB: 3, Proto: 2}
		tries := func(what string, want bool) {
			t.Helper()
			sent, refusal := change(alice, bob3)
			if refusal != nil || slices.Contains(sent, "AUTH default p") != want {
				t.Errorf("%s: sent %q: %v", what, sent, refusal)
			}
		}
		tries("at first", true)
		tries("after a refusal", false)
		time.Sleep(ownRefusedFor)
		tries("later", true)
		if _, refusal := change(alice, own); !errors.Is(refusal, wrongLogin) {
			t.Errorf("callers of the own user got %v", refusal)
		}
		refuses = false
		if _, refusal := change(alice, own); refusal != nil {
			t.Error(refusal)
		}
		tries("after a login", true)
	})
}

// A login is verified over a connection without a login. Its HELLO is enough to know whether the server accepts an
// engine that has no login: a switch may be the first to need that.
func TestADialWithoutALoginTellsWhetherTheServerRequiresOne(t *testing.T) {
	greeting := func(reply string) wire.Config {
		return wire.Config{Network: "tcp", Addr: "server", DialFunc: func(context.Context, string, string) (net.Conn, error) {
			near, far := net.Pipe()
			go func() {
				defer far.Close()
				if _, err := far.Read(make([]byte, 64)); err == nil {
					_, _ = far.Write([]byte(reply))
				}
			}()
			return near, nil
		}}
	}
	requires := greeting("-NOAUTH HELLO must be called with the client already authenticated\r\n")
	accepts := greeting("*2\r\n$7\r\nversion\r\n$5\r\n7.0.0\r\n")
	unknown := greeting("-ERR unknown command 'HELLO'\r\n")
	s := New(&wire.Config{}, nil, NewUsers())
	for i, x := range []struct {
		cfg     wire.Config
		refused bool
	}{{unknown, false}, {requires, true}, {unknown, true}, {accepts, false}} {
		conn, err := s.Dial(context.Background(), context.Background(), x.cfg, pool.Identity{User: Nobody})
		if err != nil {
			t.Fatal(err)
		}
		conn.Abort()
		if refusal := s.ownLogin.refusal(); (refusal != nil) != x.refused {
			t.Errorf("dial %d: the own user's refusal is %v", i, refusal)
		}
	}
	s = New(&wire.Config{Password: "p"}, nil, NewUsers())
	conn, err := s.Dial(context.Background(), context.Background(), requires, pool.Identity{User: Nobody})
	if err != nil {
		t.Fatal(err)
	}
	conn.Abort()
	if refusal := s.ownLogin.refusal(); refusal != nil {
		t.Errorf("an engine with a login takes the refusal of a dial without one for its own: %v", refusal)
	}
}

// Without credentials the other user runs HELLO and SELECT itself, and nobody can return to the engine's own user.
func TestASwitchWhileTheProviderFails(t *testing.T) {
	sealed := errors.New("the vault is sealed")
	provider := func(context.Context) (renewal.Credentials, error) { return renewal.Credentials{}, sealed }
	s := New(&wire.Config{}, renewal.New(provider, nil, 0, nil), NewUsers())
	s.users.Enter("bob", "b")
	refuses := false
	change := switchesOf(t, s, &refuses)
	alice, bob3 := pool.Identity{User: "alice", Proto: 2}, pool.Identity{User: "bob", DB: 3, Proto: 2}
	if sent, refusal := change(alice, bob3); !slices.Equal(sent, []string{"AUTH bob b", "SELECT 3"}) || refusal != nil {
		t.Errorf("to another user: sent %q: %v", sent, refusal)
	}
	r := &switching{s: s, conn: &wire.Conn{}, is: alice, ask: func([][]any) ([]error, error) {
		t.Error("sent a command to the server")
		return nil, nil
	}}
	if _, err := r.to(t.Context(), pool.Identity{Proto: 2}); !errors.Is(err, sealed) {
		t.Errorf("to the engine's own user: %v", err)
	}
}

// A refused password is not tried again. A user whose passwords are all refused has none.
func TestASwitchTriesThePasswordsOnce(t *testing.T) {
	s := New(&wire.Config{}, nil, NewUsers())
	s.users.Enter("bob", "old")
	s.users.Enter("bob", "new")
	var sent []string
	bob := pool.Identity{User: "bob", Proto: 2}
	login := func(accepted string) error {
		sent = nil
		conn := &wire.Conn{}
		conn.SetProtocol(2)
		r := &switching{s: s, conn: conn, is: pool.Identity{User: "alice", Proto: 2}, ask: func(commands [][]any) ([]error, error) {
			sent = append(sent, commands[0][2].(string))
			if commands[0][2] == accepted {
				return []error{nil}, nil
			}
			return []error{wrongLogin}, nil
		}}
		refusal, err := r.to(t.Context(), bob)
		if err != nil {
			t.Fatal(err)
		}
		return refusal
	}
	if err := login("old"); err != nil || !slices.Equal(sent, []string{"new", "old"}) {
		t.Errorf("sent %q: %v", sent, err)
	}
	if err := login("none"); !WrongPassword(err) || !slices.Equal(sent, []string{"old"}) {
		t.Errorf("after a refusal: sent %q: %v", sent, err)
	}
	if err := login("none"); !WrongPassword(err) || len(sent) > 0 {
		t.Errorf("without a password: sent %q: %v", sent, err)
	}
}
