package gateway_test

import (
	"testing"

	"github.com/seed-2b0d76a6/respool/internal/gateway"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/faultnet"
)

// An element for a client that has left returns as the client's user if the gateway's own user may not return it, even
// if that user has no lane yet.
func TestElementsReturnAsTheClientsUserIfTheGatewaysOwnMayNotReturnThem(t *testing.T) {
	s, _ := withUsers(t)
	relay := faultnet.Start(t, s.Addr())
	h := open(t, "redis://"+relay.Addr()+"?max_connections=6", gateway.Config{PassThrough: true})
	p := h.dial()
	p.send("AUTH alice alice", "SELECT 5", "RPUSH alice:list x")
	p.want("+OK|", "+OK|", ":1|")
	s.Do("ACL", "SETUSER", "default", "-lpush")
	relay.StallReplies()
	length := func() string {
		return s.Do("EVAL", "redis.call('select', 5) return redis.call('llen', KEYS[1])", "1", "alice:list")
	}
	p.send("BLPOP alice:list 0")
	testkit.Await(t, "the length of the list", length, testkit.Is("0"))
	_ = p.Close()
	h.awaitWaits(0)
	relay.Resume()
	testkit.Await(t, "the length of the list", length, testkit.Is("1"))
}
