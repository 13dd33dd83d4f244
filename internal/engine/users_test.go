package engine

import (
	"testing"
	"testing/synctest"
)

// A user that is deleted and created again has clients that logged in since the refusal. The refusal does not concern
// them.
func TestARefusalDoesNotDisownAUserThatLoggedInSince(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var u users
		u.init()
		disowned := 0
		u.watch(func(string) { disowned++ })
		u.enter("alice", "old")
		refused := u.loginsOf("alice")[0]
		u.enter("alice", "old") // created again with the same password
		u.spend("alice", refused)
		u.disowned("alice")
		synctest.Wait()
		if disowned != 0 {
			t.Error("a client with an accepted password lost its user")
		}
		u.spend("alice", u.loginsOf("alice")[0])
		u.disowned("alice")
		synctest.Wait()
		if disowned != 1 {
			t.Errorf("%d reports for a user that the server refuses: want 1", disowned)
		}
		u.leave("alice")
		u.leave("alice")
		u.disowned("alice")
		synctest.Wait()
		if disowned != 1 {
			t.Error("a user without clients was reported")
		}
	})
}

// refuse makes alice a user whose only password the server refuses.
func refuse(u *users) {
	u.enter("alice", "old")
	u.spend("alice", u.loginsOf("alice")[0])
}

func TestCloseWaitsForTheCallsAboutUsers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := New(Config{Addr: "127.0.0.1:1"})
		release := make(chan struct{})
		e.OnDisowned(func(string) { <-release })
		refuse(&e.users)
		e.users.disowned("alice")
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
		e.OnDisowned(func(string) { returned <- e.Close(t.Context()) })
		refuse(&e.users)
		e.users.disowned("alice")
		if err := <-returned; err != nil {
			t.Error(err)
		}
		if err := e.Close(t.Context()); err != nil || e.users.calls.Load() != 0 {
			t.Errorf("another Close returned %v, with %d calls left", err, e.users.calls.Load())
		}
	})
}
