package gateway_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/seed-2b0d76a6/respool/internal/gateway"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// withUsers starts a server with the users alice and bob, who may use keys and channels with the prefix of their names,
// and a gateway with PassThrough.
func withUsers(t *testing.T) (*redistest.Server, *testGateway) {
	s := redistest.Start(t, redistest.Config{})
	for _, name := range []string{"alice", "bob"} {
		s.Do("ACL", "SETUSER", name, "on", ">"+name, "~"+name+"*", "resetchannels", "&"+name+"*", "+@all", "-@admin", "+acl|whoami")
	}
	return s, open(t, s.URL()+"?max_connections=6", gateway.Config{PassThrough: true})
}

func TestCommandsRunAsTheClientsUser(t *testing.T) {
	_, h := withUsers(t)
	peers := map[string]*peer{}
	for _, name := range []string{"alice", "bob"} {
		p := h.dial()
		peers[name] = p
		if got := p.ask("AUTH " + name + " wrong"); !strings.HasPrefix(got, "-WRONGPASS") {
			t.Error(got)
		}
		if got := p.ask("AUTH " + name + " " + name); got != "+OK|" {
			t.Fatal(got)
		}
	}
	for range 3 {
		for name, p := range peers {
			p.send("ACL WHOAMI", "SET "+name+" 1", "WATCH "+name, "GET "+name, "UNWATCH", "BLPOP "+name+":list 0.01", "SET other 1")
			p.want(bulk(name), "+OK|", "+OK|", "$1|1|", "+OK|", "*-1|")
			if got := p.frame(); !strings.HasPrefix(got, "-NOPERM") {
				t.Errorf("%q", got)
			}
		}
	}
}

func TestResetMakesAClientTheDefaultUser(t *testing.T) {
	_, h := withUsers(t)
	p := h.dial()
	p.send("AUTH alice alice", "ACL WHOAMI", "SUBSCRIBE alice", "RESET", "ACL WHOAMI", "SET any 1")
	p.want("+OK|", bulk("alice"), "*3|$9|subscribe|$5|alice|:1|", "+RESET|", bulk("default"), "+OK|")
	p.send("AUTH bob bob", "SUBSCRIBE bob")
	p.want("+OK|", "*3|$9|subscribe|$3|bob|:1|")
}

// A client continues after its password has changed, while others try the old password.
func TestAnOldPasswordIsRefused(t *testing.T) {
	s, h := withUsers(t)
	p, q := h.dial(), h.dial()
	p.send("AUTH alice alice", "ACL WHOAMI")
	p.want("+OK|", bulk("alice"))
	s.Do("ACL", "SETUSER", "alice", "resetpass", ">new")
	for range 3 {
		if got := q.ask("AUTH alice alice"); !strings.HasPrefix(got, "-WRONGPASS") {
			t.Error(got)
		}
	}
	if got := p.ask("ACL WHOAMI"); got != bulk("alice") { // while it has a connection, as on a server
		t.Error(got)
	}
	s.Do("CLIENT", "KILL", "USER", "alice")
	p.ends()
	q.send("AUTH alice new", "ACL WHOAMI")
	q.want("+OK|", bulk("alice"))
}

func TestAUserWithoutAPasswordRunsItsCommands(t *testing.T) {
	s, h := withUsers(t)
	s.Do("ACL", "SETUSER", "guest", "on", "nopass", "~guest*", "+@all", "-@admin", "+acl|whoami")
	var peers []*peer
	for n := range 8 {
		p := h.dial()
		p.write(fmt.Sprintf("HELLO %d AUTH guest \"\"\r\n", 2+n%2))
		if got := p.frame(); got[0] == '-' {
			t.Fatal(got)
		}
		peers = append(peers, p)
	}
	for _, p := range peers {
		p.send("ACL WHOAMI", "BLPOP guest 0.01", "ACL WHOAMI")
		p.want(bulk("guest"))
		p.frame()
		p.want(bulk("guest"))
	}
}

// The permissions of users for commands on other clients are those on the server.
func TestLocalCommandsNeedTheUsersPermission(t *testing.T) {
	s, h := withUsers(t)
	s.Do("ACL", "SETUSER", "bob", "+client|kill", "+client|list")
	p, q, other := h.dial(), h.dial(), h.dial()
	p.send("AUTH alice alice")
	q.send("AUTH bob bob")
	p.want("+OK|")
	q.want("+OK|")
	id := strings.Trim(other.ask("CLIENT ID"), ":|")
	for _, line := range []string{"CLIENT LIST", "CLIENT KILL ID " + id, "CLIENT UNBLOCK " + id, "RESPOOL CLIENTS", "RESPOOL PAUSE"} {
		if got := p.ask(line); !strings.HasPrefix(got, "-NOPERM") {
			t.Errorf("alice: %s: %s", line, got)
		}
	}
	for line, want := range map[string]string{"CLIENT LIST ID " + id: "$", "CLIENT UNBLOCK " + id: "-NOPERM", "RESPOOL POOLS": "*"} {
		if got := q.ask(line); !strings.HasPrefix(got, want) {
			t.Errorf("bob: %s: %s", line, got)
		}
	}
	if got := other.ask("RESPOOL CLIENTS"); got[0] != '*' {
		t.Error(got)
	}
	if got := q.ask("CLIENT KILL ID " + id); got != ":1|" {
		t.Error(got)
	}
	other.ends()
}

// Clients keep their configuration when a gateway replaces the server.
func TestClientsMaySendTheServersPassword(t *testing.T) {
	const wrong = "-WRONGPASS invalid username-password pair or user is disabled.|"
	s := redistest.Start(t, redistest.Config{Password: "secret"})
	for _, cfg := range []gateway.Config{{}, {PassThrough: true}} {
		h := open(t, s.URL()+"?max_connections=2", cfg)
		p := h.dial()
		p.send("AUTH secret", "AUTH wrong", "AUTH default secret", "AUTH default wrong", "AUTH nobody secret", "ACL WHOAMI", "SET a 1")
		p.want("+OK|", wrong, "+OK|", wrong, wrong, bulk("default"), "+OK|")
		if got := p.ask("HELLO 3 AUTH default secret"); got[0] != '%' {
			t.Error(got)
		}
		if got := p.ask("HELLO 3 AUTH default wrong"); got != wrong {
			t.Error(got)
		}
		p.send("ACL WHOAMI", "GET a")
		p.want(bulk("default"), "$1|1|")
	}
}

func TestAServerWithoutAPasswordRefusesAuth(t *testing.T) {
	const none = "-ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?|"
	s := redistest.Start(t, redistest.Config{})
	for _, cfg := range []gateway.Config{{}, {PassThrough: true}} {
		h := open(t, s.URL()+"?max_connections=2", cfg)
		p := h.dial()
		p.send("AUTH any", "AUTH default any", "GET a")
		p.want(none, "+OK|", "$-1|")
	}
}
