package gateway_test

import (
	"strings"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/gateway"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// The reaper visits the clients twice a second. CLIENT LIST must also reflect later input.
func TestTheCallerOfClientListIsNeitherBlockedNorIdle(t *testing.T) {
	onEach(t, gateway.Config{}, func(t *testing.T, h *testGateway, dial func() *peer) {
		p := dial()
		p.ask("CLIENT SETNAME asks")
		for end := time.Now().Add(700 * time.Millisecond); time.Now().Before(end); {
			for _, line := range []string{"CLIENT INFO", "CLIENT LIST"} {
				if got := p.ask(line); !strings.Contains(got, "name=asks") || !strings.Contains(got, " flags=N ") {
					t.Fatalf("%s gave %s", line, got)
				}
			}
		}
	})
}

// CLIENT KILL USER accepts users without clients.
func TestKillingTheClientsOfAUser(t *testing.T) {
	s := redistest.Start(t, redistest.Config{Users: []string{"user alice on >secret ~* +@all"}})
	for name, c := range map[string]struct {
		cfg         gateway.Config
		login, user string
	}{
		"no users":            {gateway.Config{}, "PING", ""},
		"the gateway's users": {gateway.Config{Users: map[string]gateway.User{"default": {Commands: []string{"all"}}, "alice": {}}}, "AUTH alice x", "alice"},
		"pass-through":        {gateway.Config{PassThrough: true}, "AUTH alice secret", "alice"},
	} {
		t.Run(name, func(t *testing.T) {
			h := open(t, s.URL(), c.cfg)
			operator, p := h.dial(), h.dial()
			p.ask(c.login)
			if got := operator.ask("CLIENT KILL USER nobody"); got != "-ERR No such user 'nobody'|" {
				t.Errorf("an unknown user: %s", got)
			}
			want := ":0|"
			if c.user != "" {
				want = ":1|"
			}
			if got := operator.ask("CLIENT KILL USER alice"); got != want {
				t.Errorf("alice: %s: want %s", got, want)
			}
			if c.user != "" {
				p.ends()
			}
			if got := operator.ask("CLIENT KILL USER alice"); got != ":0|" {
				t.Errorf("alice again: %s", got)
			}
		})
	}
}
