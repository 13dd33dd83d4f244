package e2e_test

import (
	"errors"
	"testing"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/engine"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

var rawWhoami = []byte("*2\r\n$3\r\nACL\r\n$6\r\nWHOAMI\r\n")

// After the server has changed a user's password, requests with the old password fail. They never run as another user.
func TestARefusedUserNeverRunsAsAnotherUser(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	for _, most := range []int{1, 4} { // a single connection switches its identity; otherwise the client dials others
		s.Do("ACL", "SETUSER", "alice", "reset", "on", ">old", "~a*", "+@all")
		c := openClient(t, respool.Options{Addr: s.Addr(), MaxConnections: most})
		up := c.Engine()
		token, err := up.Logins().Verify(bounded(t), "alice", "old")
		if err != nil {
			t.Fatal(err)
		}
		alice := engine.Identity{User: token, Proto: 2}
		frames, err := up.Exchange(bounded(t), alice, rawWhoami, 1, true, nil)
		if err != nil || string(frames[0]) != "$5\r\nalice\r\n" {
			t.Fatalf("got %q, %v", frames, err)
		}
		s.Do("ACL", "SETUSER", "alice", "<old", ">new")
		s.Do("CLIENT", "KILL", "USER", "alice")
		var se *respool.ServerError
		testkit.Eventually(t, "the server refuses the old password", func() bool { // after the client has seen the end of the connections
			_, err := up.Logins().Verify(bounded(t), "alice", "old")
			return errors.As(err, &se)
		})
		for _, db := range []int{0, 1} {
			alice.DB = db
			if frames, err := up.Exchange(bounded(t), alice, rawWhoami, 1, true, nil); !errors.As(err, &se) {
				t.Errorf("%d connections, database %d: got %q, %v; want the server's refusal", most, db, frames, err)
			}
		}
		s.Do("ACL", "SETUSER", "alice", "<new", ">old")
		if _, err := up.Logins().Verify(bounded(t), "alice", "old"); err != nil {
			t.Errorf("the password is right again: %v", err)
		}
		if frames, err := up.Exchange(bounded(t), alice, rawWhoami, 1, true, nil); err != nil || string(frames[0]) != "$5\r\nalice\r\n" {
			t.Errorf("the password is right again: got %q, %v", frames, err)
		}
	}
}

func TestAUserWithoutAPasswordKeepsTheirIdentity(t *testing.T) {
	s := redistest.Start(t, redistest.Config{Users: []string{"guest on nopass ~* +acl|whoami +select +client +ping"}})
	for _, most := range []int{1, 4} {
		c := openClient(t, respool.Options{Addr: s.Addr(), MaxConnections: most})
		up := c.Engine()
		token, err := up.Logins().Verify(bounded(t), "guest", "")
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range []engine.Identity{{User: token, Proto: 2}, {User: token, DB: 1, Proto: 3}} {
			frames, err := up.Exchange(bounded(t), key, rawWhoami, 1, true, nil)
			if err != nil || string(frames[0]) != "$5\r\nguest\r\n" {
				t.Errorf("%d connections: got %q, %v; want guest", most, frames, err)
			}
		}
	}
}

// The default user of the client selects the database, so a user without SELECT works in each database.
func TestAUserWithoutSelectWorksOnASwitchedConnection(t *testing.T) {
	s := redistest.Start(t, redistest.Config{Users: []string{"bob on >secret ~* +acl|whoami"}})
	c := openClient(t, respool.Options{Addr: s.Addr(), MaxConnections: 1})
	up := c.Engine()
	if _, err := up.Exchange(bounded(t), engine.Identity{DB: 1, Proto: 2}, rawWhoami, 1, true, nil); err != nil {
		t.Fatal(err)
	}
	token, err := up.Logins().Verify(bounded(t), "bob", "secret")
	if err != nil {
		t.Fatal(err)
	}
	for _, db := range []int{0, 1, 0} {
		frames, err := up.Exchange(bounded(t), engine.Identity{User: token, DB: db, Proto: 2}, rawWhoami, 1, true, nil)
		if err != nil || string(frames[0]) != "$3\r\nbob\r\n" {
			t.Errorf("database %d: got %q, %v; want bob", db, frames, err)
		}
	}
}

// Blocked and subscribed callers hold all connections that can be leased. Logins still succeed.
func TestALoginNeedsNoDedicatedConnection(t *testing.T) {
	s := redistest.Start(t, redistest.Config{Users: []string{"alice on >a ~* &* +@all", "bob on >b ~* &* +@all"}})
	c := openClient(t, respool.Options{Addr: s.Addr(), MaxConnections: 2})
	up := c.Engine()
	held, err := up.Lease(bounded(t), engine.Identity{Proto: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer held.Release()
	for range 3 {
		for user, password := range map[string]string{"alice": "a", "bob": "b"} {
			if _, err := up.Logins().Verify(bounded(t), user, password); err != nil {
				t.Errorf("%s: %v", user, err)
			}
			var se *respool.ServerError
			if _, err := up.Logins().Verify(bounded(t), user, "wrong"); !errors.As(err, &se) || se.Code != "WRONGPASS" {
				t.Errorf("%s with a wrong password: %v", user, err)
			}
		}
	}
}
