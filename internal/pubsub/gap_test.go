package pubsub

import (
	"fmt"
	"testing"

	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

func TestAGapStandsWhereTheConnectionWasLost(t *testing.T) {
	eachProtocol(t, redistest.Config{}, setup{}, func(t *testing.T, srv *redistest.Server, h *Hub) {
		s := mustSubscribe(t, h, Channel, "c", "d")
		p := mustSubscribe(t, h, Pattern, "*")
		var sh *Subscription
		if srv.Has("SSUBSCRIBE") {
			sh = mustSubscribe(t, h, Shard, "s")
		}
		empty := mustSubscribe(t, h, Channel, "e")
		if err := empty.Remove("e"); err != nil {
			t.Fatal(err)
		}
		for i := range 10 {
			before, after := fmt.Sprint("before", i), fmt.Sprint("after", i)
			srv.Do("PUBLISH", "c", before)
			srv.Do("CLIENT", "KILL", "TYPE", "pubsub")
			// The count may still be the old connection's; the gap is not.
			wantMessages(t, s, "c "+before, "gap(reconnected, -1)")
			wantMessages(t, p, "* c "+before, "gap(reconnected, -1)")
			srv.Do("PUBLISH", "d", after)
			wantMessages(t, s, "d "+after)
			wantMessages(t, p, "* d "+after)
			if sh != nil {
				wantMessages(t, sh, "gap(reconnected, -1)")
				srv.Do("SPUBLISH", "s", after)
				wantMessages(t, sh, "s "+after)
			}
		}
		if err := empty.Add(testContext(t), "e"); err != nil {
			t.Fatal(err)
		}
		srv.Do("PUBLISH", "e", "x")
		wantMessages(t, empty, "e x")
	})
}

func TestSubscriptionsOutliveTheServer(t *testing.T) {
	srv, h := start(t, setup{})
	const n = 2*batch + 3
	subs := make([]*Subscription, n)
	for i := range subs {
		subs[i] = mustSubscribe(t, h, Channel, fmt.Sprint("c", i), "all")
	}
	for range 3 {
		srv.Kill()
		srv.Restart()
		for _, s := range subs {
			wantMessages(t, s, "gap(reconnected, -1)")
		}
		srv.Do("PUBLISH", "all", "x")
		for _, s := range subs {
			wantMessages(t, s, "all x")
		}
	}
	if got := srv.ClientCount(); got != 1 {
		t.Errorf("the server counts %d connections: want 1", got)
	}
}

func TestASubscriptionEndsWhenItIsRefusedAfterAReconnect(t *testing.T) {
	users := []string{"alice on >secret ~* &* +@all"}
	eachProtocol(t, redistest.Config{Users: users}, setup{user: "alice", password: "secret"}, func(t *testing.T, srv *redistest.Server, h *Hub) {
		srv.Do("ACL", "SETUSER", "alice", "resetchannels", "&*")
		kept := mustSubscribe(t, h, Channel, "ok")
		lost := mustSubscribe(t, h, Channel, "ok", "secret")
		srv.Do("PUBLISH", "secret", "x")
		srv.Do("ACL", "SETUSER", "alice", "resetchannels", "&ok") // drops the connection, too
		wantMessages(t, kept, "gap(reconnected, -1)")
		wantMessages(t, lost, "secret x")
		for {
			msg, err := lost.Receive(testContext(t))
			if err == nil && msg.Gap != nil {
				continue
			}
			if !isNoPerm(err) {
				t.Errorf("Receive: %v, %v: want NOPERM", msg, err)
			}
			break
		}
		srv.Do("PUBLISH", "ok", "y")
		wantMessages(t, kept, "ok y")
	})
}

func TestASlowSubscriberIsToldExactlyWhatItLost(t *testing.T) {
	eachProtocol(t, redistest.Config{}, setup{hub: Config{Buffer: 4}}, func(t *testing.T, srv *redistest.Server, h *Hub) {
		slow := mustSubscribe(t, h, Channel, "c")
		quick := mustSubscribe(t, h, Channel, "c")
		next := 0
		publish := func(n int) {
			for range n {
				srv.Do("PUBLISH", "c", fmt.Sprint(next))
				wantMessages(t, quick, fmt.Sprint("c ", next)) // others are not held up
				next++
			}
		}
		publish(10) // 0-3 are kept, 4-9 are not
		wantMessages(t, slow, "c 0", "c 1")
		publish(3) // 10 and 11 find room, 12 does not
		wantMessages(t, slow, "c 2", "c 3", "gap(slow subscriber, 6)", "c 10", "c 11", "gap(slow subscriber, 1)")
		publish(1)
		wantMessages(t, slow, "c 13")
	})
}
