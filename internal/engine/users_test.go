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
