package gateway_test

import (
	"strings"
	"testing"

	"github.com/seed-2b0d76a6/respool/internal/gateway"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// A client with the permission for CONFIG SET cannot change the gateway's login, inside MULTI or outside.
func TestNoClientLocksTheGatewayOut(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	h := open(t, s.URL()+"?max_connections=4", gateway.Config{Admin: true})
	p := h.dial()
	for _, line := range []string{
		"CONFIG SET requirepass new", "config set MAXMEMORY 0 RequirePass new", "ACL SETUSER default >new", "ACL SETUSER default ~* RESETPASS",
		"ACL SETUSER default off", "ACL DELUSER other default", "ACL SETUSER default reset",
	} {
		if got := p.ask(line); !strings.Contains(got, "would lock the gateway out") {
			t.Errorf("%s: %s", line, got)
		}
		p.send("MULTI", line)
		p.want("+OK|")
		if got := p.frame(); !strings.Contains(got, "would lock the gateway out") {
			t.Errorf("%s in MULTI: %s", line, got)
		}
		if got := p.ask("EXEC"); !strings.HasPrefix(got, "-EXECABORT") {
			t.Errorf("%s: %s", line, got)
		}
	}
	p.send("CONFIG SET maxmemory 0", "ACL SETUSER other on >x ~* +@all", "ACL SETUSER default +@all", "ACL DELUSER other")
	p.want("+OK|", "+OK|", "+OK|", ":1|")
	s.Do("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
	if got := p.ask("GET a"); got != "$-1|" {
		t.Errorf("after its connections were replaced: %s", got)
	}
}
