package gateway_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/gateway"
	"github.com/seed-2b0d76a6/respool/internal/gateway/quota"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// one is a rate at which a client that has sent one request waits for long: the request owes its bytes.
var one = quota.Rate{Bytes: 1}

// forever is a wait that ends with the test.
const forever = time.Hour

// While clients of one user wait because of its rate, another user's commands complete.
func TestAUserOverItsRateDelaysNoOtherUser(t *testing.T) {
	cfg := gateway.Config{LimitWait: forever, Users: map[string]gateway.User{
		"default": {Commands: []string{"all"}}, "busy": {Limits: quota.Limits{Rate: one}},
	}}
	onEach(t, cfg, func(t *testing.T, h *testGateway, dial func() *peer) {
		first, other := dial(), dial()
		first.send("AUTH busy any", "SET a 1")
		first.want("+OK|", "+OK|")
		const busy = 5
		for range busy {
			dial().send("AUTH busy any", "GET a")
		}
		testkit.Await(t, "the clients wait", h.Stats, func(s gateway.Stats) bool { return s.LimitWaits >= busy })
		lines := []string{"GET a"}
		for range 1000 {
			lines = append(lines, "GET a")
		}
		other.send(lines...)
		for range lines {
			other.want("$1|1|")
		}
		if list := other.ask("RESPOOL CLIENTS"); strings.Count(list, "state=limited") < busy {
			t.Errorf("%s: want %d limited clients", list, busy)
		}
	})
}

func TestACommandBeyondTheWaitIsRefused(t *testing.T) {
	cfg := gateway.Config{LimitWait: time.Millisecond, ClientRate: one}
	onEach(t, cfg, func(t *testing.T, h *testGateway, dial func() *peer) {
		p := dial()
		const refused = "-LOADING respool: this client is over its bytes_per_second of 1 (the command was not sent)|"
		p.send("SET a 1", "SET a 2", "GET a", "MULTI")
		p.want("+OK|", refused, refused, refused)
		q := dial() // each client has its own rate
		q.send("MULTI", "GET a", "EXEC", "GET a")
		q.want("+OK|", refused, "-EXECABORT Transaction discarded because of: "+refused[1:], refused)
		if s := h.Stats(); s.LimitRefused != 6 || s.LimitWaits != 6 {
			t.Errorf("%d refused, %d waited: want 6", s.LimitRefused, s.LimitWaits)
		}
	})
}

func TestWithCloseOnFailureARefusalEndsTheConnection(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	h := open(t, s.URL(), gateway.Config{LimitWait: time.Millisecond, ClientRate: one, CloseOnFailure: true})
	p := h.dial()
	p.send("SET a 1", "SET a 2")
	p.want("+OK|")
	p.ends()
}

// The replies count: one large reply makes the user wait.
func TestRepliesAreCharged(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	h := open(t, s.URL(), gateway.Config{LimitWait: time.Millisecond, Users: map[string]gateway.User{
		"default": {Limits: quota.Limits{Rate: quota.Rate{Bytes: 100_000}}},
	}})
	s.Do("SETRANGE", "large", fmt.Sprint(4<<20), "x")
	p, q := h.dial(), h.dial()
	p.send("GET large")
	p.frame()
	const refused = "-LOADING respool: user default is over its bytes_per_second of 100000 (the command was not sent)|"
	p.send("PING")
	q.send("PING")
	p.want(refused)
	q.want(refused)
}

func TestAReloadOfLimitsEndsWaits(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	cfg := gateway.Config{LimitWait: forever, Users: map[string]gateway.User{"default": {Limits: quota.Limits{Rate: one}}}}
	h := open(t, s.URL(), cfg)
	p := h.dial()
	p.send("SET a 1", "SET a 2", "GET a")
	p.want("+OK|")
	testkit.Await(t, "the client waits", h.Stats, func(s gateway.Stats) bool { return s.LimitWaits == 1 })
	cfg.Users = map[string]gateway.User{"default": {}}
	if err := h.Reload(cfg); err != nil {
		t.Fatal(err)
	}
	p.want("+OK|", "$1|2|")
	cfg.ClientRate = one
	if err := h.Reload(cfg); err != nil {
		t.Fatal(err)
	}
	p.send("SET a 3", "GET a")
	p.want("+OK|")
	testkit.Await(t, "the client waits", h.Stats, func(s gateway.Stats) bool { return s.LimitWaits == 2 })
	if err := h.Reload(gateway.Config{}); err != nil {
		t.Fatal(err)
	}
	p.want("$1|3|")
	if err := h.Reload(gateway.Config{Users: map[string]gateway.User{"a": {Limits: quota.Limits{MaxClients: -1}}}}); err == nil {
		t.Error("want an error for a negative limit")
	}
}

func TestAUserHasAtMostItsClients(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	h := open(t, s.URL(), gateway.Config{Users: map[string]gateway.User{
		"default": {Limits: quota.Limits{MaxClients: 3}}, "app": {Passwords: []string{hash("x")}, Limits: quota.Limits{MaxClients: 1}},
	}})
	const full = "-ERR max number of clients reached|"
	p, q := h.dial(), h.dial()
	p.send("AUTH app x", "AUTH app x", "PING")
	p.want("+OK|", "+OK|", "+PONG|")
	q.send("AUTH app x", "HELLO 2 AUTH app x", "PING")
	q.want(full, full, "+PONG|")
	p.send("RESET")
	p.want("+RESET|")
	q.send("AUTH app x")
	q.want("+OK|")
	h.dial().send("PING")
	r := h.dial()
	r.send("PING")
	r.want("+PONG|")
	refused := h.dial()
	refused.want(full)
	refused.ends()
	r.Close()
	testkit.Await(t, "the client has left", h.Stats, func(s gateway.Stats) bool { return s.Users[1].Clients == 2 })
	if got := h.dial().ask("PING"); got != "+PONG|" {
		t.Error(got)
	}
	if s := h.Stats(); s.Users[0].Clients != 1 || s.Users[0].Refused != 2 || s.Users[1].Refused != 1 || s.Refused != 3 {
		t.Errorf("%+v", s)
	}
}

func TestAUserHasAtMostItsDedicatedConnections(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	limited := gateway.User{Commands: []string{"all"}, Limits: quota.Limits{MaxConnections: 1}}
	cfg := gateway.Config{LimitWait: time.Millisecond, Users: map[string]gateway.User{"default": limited}}
	h := open(t, s.URL()+"?max_connections=6", cfg)
	p, q := h.dial(), h.dial()
	p.send("WATCH a", "GET a")
	p.want("+OK|", "$-1|")
	const refused = "-LOADING respool: user default holds its max_connections of 1 dedicated connections (the command was not sent)|"
	for _, command := range []string{"WATCH a", "MONITOR", "WAIT 0 0"} {
		if got := q.ask(command); got != refused {
			t.Errorf("%s: %s", command, got)
		}
	}
	if got := q.ask("GET a"); got != "$-1|" {
		t.Error(got)
	}
	cfg.LimitWait = forever
	if err := h.Reload(cfg); err != nil {
		t.Fatal(err)
	}
	for i, end := range []string{"UNWATCH", "RESET", ""} {
		q.send("WATCH a")
		testkit.Await(t, "the client waits", h.Stats, func(s gateway.Stats) bool { return s.Users[0].Waits == uint64(4+i) })
		if end != "" {
			p.ask(end)
		} else {
			p.Close()
		}
		q.want("+OK|")
		p, q = q, p
	}
	p.send("RESET", "MONITOR")
	p.want("+RESET|", "+OK|")
	if s := h.Stats(); s.Users[0].Connections != 1 {
		t.Errorf("%+v", s.Users)
	}
	p.Close()
	testkit.Await(t, "the connection is free", h.Stats, func(s gateway.Stats) bool { return s.Users[0].Connections == 0 })
}
