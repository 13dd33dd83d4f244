package gateway_test

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/gateway"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// onEachProtocol runs a test in RESP2 and RESP3, with enough connections and with the minimum.
func onEachProtocol(t *testing.T, test func(t *testing.T, proto, most int)) {
	for _, proto := range []int{2, 3} {
		for _, most := range []int{1, 2, 6} {
			t.Run(fmt.Sprintf("RESP%d over %d", proto, most), func(t *testing.T) { test(t, proto, most) })
		}
	}
}

// passing opens a gateway with PassThrough and a limit of connections.
func passing(t *testing.T, s *redistest.Server, most int, options string) *testGateway {
	return open(t, fmt.Sprintf("%s?max_connections=%d%s", s.URL(), most, options), gateway.Config{PassThrough: true})
}

// login dials as a user whose password is the user's name.
func (h *testGateway) login(name string, proto int) *peer {
	h.t.Helper()
	p := h.dial()
	if got := p.ask(fmt.Sprintf("HELLO %d AUTH %s %s", proto, name, name)); got[0] == '-' {
		h.t.Fatal(got)
	}
	return p
}

// operator dials the server directly.
func operator(t *testing.T, s *redistest.Server) *peer {
	conn, err := net.Dial("tcp", s.PlainAddr())
	if err != nil {
		t.Fatal(err)
	}
	return newPeer(t, conn)
}

// calls returns how often the server has run a command.
func calls(s *redistest.Server, command string) int {
	stat, _, _ := strings.Cut(s.Info("commandstats")["cmdstat_"+command], ",")
	n, _ := strconv.Atoi(strings.TrimPrefix(stat, "calls="))
	return n
}

func nullArray(proto int) string { return map[int]string{2: "*-1|", 3: "_|"}[proto] }

// A server logs violations in ACL LOG. The log must contain only violations by the user's own commands.
func TestTheGatewayCausesNoACLViolations(t *testing.T) {
	onEachProtocol(t, func(t *testing.T, proto, most int) {
		s := redistest.Start(t, redistest.Config{Users: []string{
			"user alice on >alice ~* resetchannels &a* +get +set +blpop +lpop +subscribe +unsubscribe +watch +unwatch +multi +exec"}})
		h := passing(t, s, most, "&health_check_interval=0.1")
		admin := operator(t, s)
		others := h.dial()
		others.send("SELECT 3", "GET a")
		others.want("+OK|", "$-1|")
		for range 3 {
			p := h.login("alice", proto)
			p.send("SET a 1", "GET a", "BLPOP none 0.01", "WATCH a", "MULTI", "CLIENT SETNAME me", "GET a", "EXEC",
				"SUBSCRIBE a", "UNSUBSCRIBE a")
			p.want("+OK|", "$1|1|", nullArray(proto), "+OK|", "+OK|", "+QUEUED|", "+QUEUED|", "*2|+OK|$1|1|")
			p.frame()
			p.frame()
			if got := others.ask("GET a"); got != "$-1|" {
				t.Error(got)
			}
		}
		if most > 1 { // with one connection, a subscription leaves none for the others
			listener := h.login("alice", proto)
			listener.send("SUBSCRIBE a")
			listener.frame()
		}
		p := h.login("alice", proto)
		checks := func() int {
			n := 0
			for _, name := range []string{"hello", "ping"} {
				n += calls(s, name)
			}
			return n
		}
		before := checks()
		p.send("GET a")
		p.want("$1|1|")
		testkit.Eventually(t, "connections are checked", func() bool { return checks() >= before+5 })
		p.send("GET a")
		p.want("$1|1|")
		if got := admin.ask("ACL LOG"); got != "*0|" {
			t.Errorf("ACL LOG has %s", got)
		}
	})
}

// As on a server, a client keeps its database when it becomes a user without the permission for SELECT.
func TestAClientKeepsItsDatabaseAsAUserWithoutSelect(t *testing.T) {
	onEachProtocol(t, func(t *testing.T, proto, most int) {
		s := redistest.Start(t, redistest.Config{Users: []string{"user alice on >alice ~* +get +set +blpop +lpop +watch +unwatch", "user bob on >bob ~* +get"}})
		h := passing(t, s, most, "")
		admin := operator(t, s)
		admin.send("SET a 0", "SELECT 9", "SET a 9")
		admin.want("+OK|", "+OK|", "+OK|")
		for range 2 {
			var peers []*peer
			for range 3 {
				p := h.dial()
				p.send("SELECT 9", "AUTH alice alice")
				p.want("+OK|", "+OK|")
				p.ask(fmt.Sprintf("HELLO %d", proto))
				peers = append(peers, p, h.login("alice", proto), h.login("bob", proto))
			}
			for i, p := range peers {
				value := map[int]string{0: "$1|9|", 1: "$1|0|", 2: "$1|0|"}[i%3]
				p.send("GET a", "GET a")
				p.want(value, value)
				if i%3 == 2 {
					continue
				}
				p.send("BLPOP none 0.01", "WATCH a", "GET a", "UNWATCH")
				p.want(nullArray(proto), "+OK|", value, "+OK|")
			}
		}
		if got := admin.ask("ACL LOG"); got != "*0|" {
			t.Errorf("ACL LOG has %s", got)
		}
	})
}

func TestTheServerChecksPermissionsForPingEchoAndSelect(t *testing.T) {
	onEachProtocol(t, func(t *testing.T, proto, most int) {
		s := redistest.Start(t, redistest.Config{Users: []string{
			"user alice on >alice ~* +get +set", "user bob on >bob ~* +get +set +ping +echo +select +multi +exec"}})
		h := passing(t, s, most, "")
		alice, bob := h.login("alice", proto), h.login("bob", proto)
		for _, line := range []string{"PING", "PING x", "ECHO x", "SELECT 0", "SELECT 3"} {
			if got := alice.ask(line); !strings.HasPrefix(got, "-NOPERM") {
				t.Errorf("alice: %s: %s", line, got)
			}
		}
		bob.send("PING", "PING x", "ECHO y", "SELECT 0", "SET a 0", "SELECT 3", "SET a 3", "SELECT 99", "GET a", "SELECT 0", "GET a",
			"MULTI", "SELECT 3", "GET a", "EXEC", "GET a")
		bob.want("+PONG|", bulk("x"), bulk("y"), "+OK|", "+OK|", "+OK|", "+OK|", "-ERR DB index is out of range|", "$1|3|", "+OK|", "$1|0|",
			"+OK|", "+QUEUED|", "+QUEUED|", "*2|+OK|$1|3|", "$1|3|")
		alice.send("GET a")
		alice.want("$1|0|")
		s.Do("ACL", "SETUSER", "bob", "-select", "-ping")
		for _, line := range []string{"PING", "SELECT 0", "SELECT 3"} {
			if got := bob.ask(line); !strings.HasPrefix(got, "-NOPERM") {
				t.Errorf("bob, later: %s: %s", line, got)
			}
		}
		bob.send("GET a")
		bob.want("$1|3|")
		s.Do("ACL", "SETUSER", "bob", "+select")
		bob.send("SELECT 0", "GET a")
		bob.want("+OK|", "$1|0|")
	})
}

// A permission may allow a user to enter a database but not to leave it.
func TestATransactionThatCannotReturnToItsDatabaseAffectsNoOtherClient(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	if !s.Version().Since(7, 0) {
		return // such permissions exist since 7.0
	}
	s.Do("ACL", "SETUSER", "alice", "on", ">alice", "~*", "+get", "+set", "+multi", "+exec", "+select|3")
	h := passing(t, s, 2, "")
	p, q := h.login("alice", 2), h.login("alice", 2)
	q.send("SET a 0")
	q.want("+OK|")
	p.send("MULTI", "SELECT 3", "SET a 3", "EXEC")
	p.want("+OK|", "+QUEUED|", "+QUEUED|", "*2|+OK|+OK|")
	for range 4 {
		q.send("GET a")
		q.want("$1|0|")
		p.send("GET a")
		p.want("$1|3|")
	}
}

// The gateway has no login of its own.
func TestUsersLogInIfTheGatewayHasNoLogin(t *testing.T) {
	onEachProtocol(t, func(t *testing.T, proto, most int) {
		s := redistest.Start(t, redistest.Config{Password: "secret", Users: []string{"user alice on >alice ~* +get +set +select", "user bob on >bob ~* +get"}})
		h := open(t, fmt.Sprintf("redis://%s?max_connections=%d", s.PlainAddr(), most), gateway.Config{PassThrough: true})
		if got := h.dial().ask("GET a"); !strings.HasPrefix(got, "-NOAUTH") {
			t.Error(got)
		}
		for range 2 {
			p, q := h.login("alice", proto), h.login("bob", proto)
			p.send("SET a 0", "SELECT 3", "SET a 3", "GET a")
			p.want("+OK|", "+OK|", "+OK|", "$1|3|")
			q.send("GET a")
			q.want("$1|0|")
			r := h.dial()
			r.send("AUTH secret", "GET a", "ACL WHOAMI")
			r.want("+OK|", "$1|0|", bulk("default"))
		}
		admin := operator(t, s)
		admin.send("AUTH secret")
		admin.want("+OK|")
		if got := admin.ask("ACL LOG"); got != "*0|" {
			t.Errorf("ACL LOG has %s", got)
		}
	})
}

// Clients without a login use the gateway's own user, which has no login here. The connections belong to other users:
// no switch may send the server a login that it refuses and logs.
func TestClientsWithoutALoginCauseNoRefusedLogin(t *testing.T) {
	for _, most := range []int{1, 2} {
		s := redistest.Start(t, redistest.Config{Password: "secret", Users: []string{"user alice on >alice ~* +get +set +multi +exec"}})
		h := open(t, fmt.Sprintf("redis://%s?max_connections=%d", s.PlainAddr(), most), gateway.Config{PassThrough: true})
		for range most {
			p := h.login("alice", 2)
			p.send("MULTI", "GET a", "EXEC")
			p.want("+OK|", "+QUEUED|", "*1|$-1|")
		}
		nobody := h.dial()
		// In this time the pool tries the own user again at least once.
		siege(t, []string{"GET a"}, 2*time.Second, "NOAUTH", func(int) *peer { return nobody })
		admin := operator(t, s)
		admin.send("AUTH secret")
		admin.want("+OK|")
		if got := admin.ask("ACL LOG"); got != "*0|" {
			t.Errorf("over %d: ACL LOG has %s", most, got)
		}
	}
}

// A server disconnects a subscriber that loses the right to one of its channels. The gateway disconnects the clients of
// that channel, and keeps the others of the user.
func TestAClientThatMayNotSubscribeAnyMoreIsDisconnected(t *testing.T) {
	for _, proto := range []int{2, 3} {
		s, h := withUsers(t)
		stays, leaves := h.login("alice", proto), h.login("alice", proto)
		stays.send("SUBSCRIBE alice:a")
		stays.frame()
		leaves.send("SUBSCRIBE alice:a alice:b")
		leaves.frame()
		leaves.frame()
		s.Do("ACL", "SETUSER", "alice", "resetchannels", "&alice:a")
		leaves.ends()
		testkit.Await(t, "the channel that is still allowed is subscribed", func() string { return s.Do("PUBSUB", "NUMSUB", "alice:a") }, testkit.Is("alice:a\n1"))
		s.Do("PUBLISH", "alice:a", "hello")
		if got := stays.frame(); !strings.Contains(got, "hello") {
			t.Errorf("RESP%d: the other client got %q", proto, got)
		}
	}
}
