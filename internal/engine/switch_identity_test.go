package engine

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

	"github.com/seed-2b0d76a6/respool/internal/wire"
	"github.com/seed-2b0d76a6/respool/resp"
)

var wrongLogin = resp.NewServerError("WRONGPASS invalid username-password pair or user is disabled.")

// switchesOf returns a function that switches a connection without a socket. It returns the commands that the
// connection sends and the server's refusal. The server refuses AUTH of the user default while *refuses is true.
func switchesOf(t *testing.T, e *Engine, refuses *bool) func(from, to Identity) (sent []string, refusal error) {
	return func(from, to Identity) (sent []string, refusal error) {
		t.Helper()
		conn := &wire.Conn{}
		conn.SetProtocol(2)
		r := &switching{e: e, conn: conn, is: from, ask: func(commands [][]any) ([]error, error) {
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
		e, refuses := &Engine{}, true
		e.users.init()
		e.users.enter("bob", "b")
		change := switchesOf(t, e, &refuses)
		own, alice, bob3 := Identity{Proto: 2}, Identity{User: "alice", Proto: 2}, Identity{User: "bob", DB: 3, Proto: 2}
		e.ownLogin.note(resp.NewServerError("NOAUTH Authentication required."))
		for range 2 {
			for _, from := range []Identity{alice, {User: nobody, DB: anyDB, Proto: 2}} {
				if sent, refusal := change(from, own); len(sent) > 0 || refusal == nil {
					t.Errorf("from %q to the own user: sent %q: %v", from.User, sent, refusal)
				}
			}
			if sent, refusal := change(alice, bob3); !slices.Equal(sent, []string{"AUTH bob b", "SELECT 3"}) || refusal != nil {
				t.Errorf("to another user: sent %q: %v", sent, refusal)
			}
			time.Sleep(2 * ownRefusedFor) // only dials try again
		}
		e.ownLogin.note(nil)
		refuses = false
		if sent, refusal := change(alice, own); len(sent) != 1 || refusal != nil {
			t.Errorf("after an accepted dial: sent %q: %v", sent, refusal)
		}
	})
}

// A switch to another user tries the engine's own user for HELLO and SELECT, but not again shortly after a refusal.
func TestASwitchRemembersTheRefusalOfTheOwnUser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, refuses := &Engine{}, true
		e.cfg.Dial.Password = "p"
		e.users.init()
		e.users.enter("bob", "b")
		change := switchesOf(t, e, &refuses)
		own, alice, bob3 := Identity{Proto: 2}, Identity{User: "alice", Proto: 2}, Identity{User: "bob", DB: 3, Proto: 2}
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
	e := &Engine{}
	for i, x := range []struct {
		cfg     wire.Config
		refused bool
	}{{unknown, false}, {requires, true}, {unknown, true}, {accepts, false}} {
		conn, err := e.dial(context.Background(), context.Background(), x.cfg, Identity{User: nobody})
		if err != nil {
			t.Fatal(err)
		}
		conn.Abort()
		if refusal := e.ownLogin.refusal(); (refusal != nil) != x.refused {
			t.Errorf("dial %d: the own user's refusal is %v", i, refusal)
		}
	}
	e = &Engine{}
	e.cfg.Dial.Password = "p"
	conn, err := e.dial(context.Background(), context.Background(), requires, Identity{User: nobody})
	if err != nil {
		t.Fatal(err)
	}
	conn.Abort()
	if refusal := e.ownLogin.refusal(); refusal != nil {
		t.Errorf("an engine with a login takes the refusal of a dial without one for its own: %v", refusal)
	}
}
