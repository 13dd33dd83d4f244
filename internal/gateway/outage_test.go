package gateway_test

import (
	"strings"
	"testing"

	"github.com/seed-2b0d76a6/respool/internal/gateway"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/faultnet"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// outage opens a gateway whose server connections can be cut.
func outage(t *testing.T, cfg gateway.Config, keys string) (*testGateway, *faultnet.Relay, *redistest.Server) {
	s := redistest.Start(t, redistest.Config{})
	relay := faultnet.Start(t, s.PlainAddr())
	return open(t, "redis://"+relay.Addr()+"?max_connections=3"+keys, cfg), relay, s
}

// begin cuts all connections and refuses new ones.
func begin(relay *faultnet.Relay) {
	relay.Refuse(true)
	relay.CutAll()
}

// Retries of clients recognize the code, for every kind of connection that the command needs.
func TestUnsentCommandsGetARetryableError(t *testing.T) {
	h, relay, _ := outage(t, gateway.Config{}, "&timeout=0.3")
	p, watcher := h.dial(), h.dial()
	p.send("SET a 1")
	p.want("+OK|")
	watcher.send("WATCH a")
	watcher.want("+OK|")
	begin(relay)
	testkit.Eventually(t, "the outage is noticed", func() bool {
		return strings.HasPrefix(p.ask("GET a"), "-LOADING respool: ")
	})
	for _, line := range []string{"SET a 2", "INFO", "BLPOP list 1", "WATCH a", "SUBSCRIBE c", "MONITOR", "NOSUCHCOMMAND", "EVAL return(1) 0"} {
		got := h.dial().ask(line)
		if !strings.HasPrefix(got, "-LOADING respool: ") {
			t.Errorf("%s gave %q", line, got)
		}
	}
	p.send("MULTI", "INCR a", "EXEC")
	p.want("+OK|", "+QUEUED|")
	if got := p.frame(); !strings.HasPrefix(got, "-LOADING respool: ") {
		t.Errorf("EXEC gave %q", got)
	}
	relay.Refuse(false)
	testkit.Await(t, "the outage is over", func() string { return p.ask("GET a") }, testkit.Is("$1|1|"))
	watcher.send("MULTI", "SET a 3", "EXEC") // its connection was lost, and the watched keys with it
	watcher.want("+OK|", "+QUEUED|", "*-1|")
}

// The gateway repeats a command that may have run only if it changes no data.
func TestCommandsThatMayHaveRunGetNoRetryableError(t *testing.T) {
	h, relay, s := outage(t, gateway.Config{}, "&retries=0&timeout=0.3")
	p, reader := h.dial(), h.dial()
	p.send("SET a 1")
	p.want("+OK|")
	relay.StallReplies()
	p.send("INCR a")
	reader.send("GET a")
	testkit.Eventually(t, "both commands have run", func() bool { return s.Do("GET", "a") == "2" && h.Stats().Commands == 3 })
	begin(relay)
	if got := p.frame(); !strings.HasPrefix(got, "-ERR respool: ") || !strings.Contains(got, "may have been executed") {
		t.Errorf("INCR gave %q", got)
	}
	if got := reader.frame(); !strings.HasPrefix(got, "-LOADING respool: ") {
		t.Errorf("GET gave %q", got)
	}
}

// Clients of blocking commands on dedicated connections treat an error reply as final, but connect again after the end of their connection.
func TestAnOutageClosesClientsOfBlockingCommands(t *testing.T) {
	s := redistest.Start(t, redistest.Config{TLS: true})
	relay := faultnet.Start(t, s.PlainAddr())
	onEachAt(t, s, "redis://"+relay.Addr()+"?max_connections=4&blocking=dedicated", gateway.Config{}, func(t *testing.T, h *testGateway, dial func() *peer) {
		for _, lines := range [][]string{
			{"BLPOP none 0"}, {"BRPOP none 60"}, {"BLMOVE none other LEFT LEFT 0"}, {"BZPOPMIN none 0"}, {"WAIT 5 0"},
			{"WATCH k", "BLPOP none 0"}, {"WATCH k", "BZPOPMIN none 60"},
		} {
			p := dial()
			p.send(append(lines, "PING")...)
			for range lines[1:] {
				p.want("+OK|")
			}
			testkit.Eventually(t, "a client is blocked", func() bool { return strings.Contains(s.Do("CLIENT", "LIST"), " flags=b ") })
			begin(relay)
			text, err := p.tryFrame()
			relay.Refuse(false)
			if text != "" || err == nil || isDeadline(err) {
				t.Errorf("%q: %q came, and %v: want the end", lines, text, err)
			}
			q := dial()
			testkit.Eventually(t, "the outage is over", func() bool { return q.ask("PING") == "+PONG|" && q.ask("GET none") == "$-1|" })
		}
	})
}

// With CloseOnFailure a client sees the end of its connection, as without a gateway.
func TestCloseOnFailureEndsTheConnection(t *testing.T) {
	h, relay, s := outage(t, gateway.Config{CloseOnFailure: true}, "&timeout=0.3")
	p := h.dial()
	p.send("SET a 1")
	p.want("+OK|")
	relay.StallReplies()
	p.send("PING", "INCR a", "PING")
	testkit.Await(t, "the command has run", func() string { return s.Do("GET", "a") }, testkit.Is("2"))
	begin(relay)
	p.want("+PONG|") // earlier replies arrive
	p.ends()
	q := h.dial()
	q.send("SET a 2", "PING")
	q.ends()
}

// The gateway forwards the server's errors for new connections unchanged.
func TestServerErrorsAreForwardedUnchanged(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	h := open(t, "redis://"+s.PlainAddr()+"?max_connections=3&timeout=0.3", gateway.Config{})
	p := h.dial()
	s.Do("CONFIG", "SET", "requirepass", "secret")
	s.Do("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
	testkit.Eventually(t, "the server refuses", func() bool { return strings.HasPrefix(p.ask("SET a 1"), "-NOAUTH ") })
	if got := p.ask("SET a 1"); strings.Contains(got, "secret") {
		t.Error(got)
	}
}
