package gateway_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/gateway"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

func hash(password string) string {
	sum := sha256.Sum256([]byte(password))
	return hex.EncodeToString(sum[:])
}

func TestOwnUsers(t *testing.T) {
	cfg := gateway.Config{Users: map[string]gateway.User{
		"default": {Passwords: []string{hash("main")}},
		"reader":  {Passwords: []string{hash("r1"), hash("r2")}, Commands: []string{"read"}},
		"gone":    {Disabled: true},
		"root":    {Passwords: []string{hash("x")}, Commands: []string{"all"}},
	}}
	onEach(t, cfg, func(t *testing.T, h *testGateway, dial func() *peer) {
		p := dial()
		p.send("CONFIG GET a", "AUTH wrong", "AUTH gone any", "AUTH main", "SET a 1", "RESPOOL STATS")
		p.want("-NOAUTH Authentication required.|", "-WRONGPASS invalid username-password pair or user is disabled.|",
			"-WRONGPASS invalid username-password pair or user is disabled.|", "+OK|", "+OK|",
			"-NOPERM User default has no permissions to run the 'respool' command|")
		p.send("AUTH reader r2", "GET a", "SET a 2", "PING", "MULTI", "DEL a", "EXEC", "CLIENT GETNAME", "PUBLISH c m", "EVAL x 0")
		p.want("+OK|", "$1|1|", "-NOPERM User reader has no permissions to run the 'set' command|", "+PONG|", "+OK|",
			"-NOPERM User reader has no permissions to run the 'del' command|", "-EXECABORT Transaction discarded because of previous errors.|",
			"$-1|", "-NOPERM User reader has no permissions to run the 'publish' command|", "-NOPERM User reader has no permissions to run the 'eval' command|")
		if got := p.ask("AUTH root x"); got != "+OK|" {
			t.Error(got)
		}
		if got := p.ask("RESPOOL STATS"); got[0] != '*' {
			t.Error(got)
		}
	})
}

// RESET restores the user of a new client.
func TestAResetEndsTheUser(t *testing.T) {
	own := gateway.Config{Users: map[string]gateway.User{"default": {}, "reader": {Passwords: []string{hash("r")}, Commands: []string{"read"}}}}
	onEach(t, own, func(t *testing.T, h *testGateway, dial func() *peer) {
		p := dial()
		p.send("AUTH reader r", "SET a 1", "RESET", "SET a 1")
		p.want("+OK|", "-NOPERM User reader has no permissions to run the 'set' command|", "+RESET|", "+OK|")
	})
	s := redistest.Start(t, redistest.Config{Users: []string{"user reader on >r ~* +@read +acl|whoami +client +hello"}})
	h := open(t, s.URL()+"?max_connections=4", gateway.Config{PassThrough: true})
	p := h.dial()
	p.send("AUTH reader r", "ACL WHOAMI", "RESET", "ACL WHOAMI", "SET a 1")
	p.want("+OK|", bulk("reader"), "+RESET|", bulk("default"), "+OK|")
}

func TestAReloadChangesPermissions(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	h := open(t, s.URL()+"?max_connections=4", gateway.Config{})
	early := h.dial()
	early.send("SET a 1")
	early.want("+OK|")
	users := func(of map[string]string) gateway.Config {
		cfg := gateway.Config{Users: map[string]gateway.User{}}
		for name, commands := range of {
			cfg.Users[name] = gateway.User{Passwords: []string{hash(name)}, Commands: strings.Fields(commands)}
		}
		return cfg
	}
	reload := func(cfg gateway.Config) {
		t.Helper()
		if err := h.Reload(cfg); err != nil {
			t.Fatal(err)
		}
	}
	reload(users(map[string]string{"default": "read", "a": "all", "b": "all"}))
	early.send("GET a", "SET a 2")
	early.want("$1|1|", "-NOPERM User default has no permissions to run the 'set' command|")
	a, b, none := h.dial(), h.dial(), h.dial()
	a.send("AUTH a a", "SET a 3", "SUBSCRIBE c", "RESET", "AUTH a a")
	a.want("+OK|", "+OK|", "*3|$9|subscribe|$1|c|:1|", "+RESET|", "+OK|")
	b.send("AUTH b b", "SUBSCRIBE c")
	b.want("+OK|", "*3|$9|subscribe|$1|c|:1|")
	none.send("GET a")
	none.want("-NOAUTH Authentication required.|")

	reload(users(map[string]string{"a": "read"}))
	b.ends()
	early.ends()
	a.send("GET a", "SET a 4")
	a.want("$1|3|", "-NOPERM User a has no permissions to run the 'set' command|")
	none.send("GET a", "AUTH b b", "AUTH a a", "GET a")
	none.want("-NOAUTH Authentication required.|", "-WRONGPASS invalid username-password pair or user is disabled.|", "+OK|", "$1|3|")

	reload(gateway.Config{})
	a.send("SET a 5")
	a.want("+OK|")
}

func TestLimitsOnClients(t *testing.T) {
	cfg := gateway.Config{MaxClients: 3, AdminClients: 1, MaxClientsPerAddress: 100}
	onEach(t, cfg, func(t *testing.T, h *testGateway, dial func() *peer) {
		var in []*peer
		for range 3 {
			in = append(in, dial())
			if got := in[len(in)-1].ask("PING"); got != "+PONG|" {
				t.Fatal(got)
			}
		}
		operator := dial()
		if got := operator.ask("GET a"); !strings.HasPrefix(got, "-ERR max number of clients reached") {
			t.Errorf("beyond the limit a client was served: %s", got)
		}
		if got := operator.ask("RESPOOL STATS"); got[0] != '*' {
			t.Error(got)
		}
		in[0].Close()
		testkit.Await(t, "there is room for the operator", func() string { return operator.ask("GET a") }, testkit.Is("$-1|"))
	})
}

func TestSlowAndSilentClients(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	h := open(t, s.URL()+"?protocol=2", gateway.Config{OutputBuffer: 1 << 20, WriteTimeout: time.Second, RequestTimeout: 2 * time.Second})
	s.Do("SET", "big", strings.Repeat("x", 256<<10))

	// A client that reads nothing: its pending output is bounded, and it is closed in the end.
	slow := h.dial()
	go func() {
		for range 200 {
			if _, err := fmt.Fprintf(slow.Conn, "%s", strings.Repeat("*2\r\n$3\r\nGET\r\n$3\r\nbig\r\n", 10)); err != nil {
				return
			}
		}
	}()
	other := h.dial()
	begun := h.dial()
	begun.write("*2\r\n$3\r\nGET\r\n$1000\r\nab")
	for h.Stats().SlowClosed == 0 || h.Stats().Clients > 1 {
		if got := other.ask("GET none"); got != "$-1|" {
			t.Fatal(got)
		}
		if held := h.Stats().Buffered; held > 16<<20 {
			t.Fatalf("%d bytes wait for a client that may hold 1 MiB", held)
		}
		time.Sleep(time.Millisecond)
	}
	begun.ends()
}

func TestMalformedRequests(t *testing.T) {
	onEach(t, gateway.Config{}, func(t *testing.T, h *testGateway, dial func() *peer) {
		for input, want := range map[string]string{
			"*1\r\n+PING\r\n":                                 "-ERR Protocol error: expected '$', got '+'|",
			"*-5\r\nPING\r\n":                                 "+PONG|",
			"POST / HTTP/1.1\r\nHost: here\r\n\r\n":           "",
			"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$999999999999\r\n": "-ERR Protocol error: invalid bulk length|",
			"*99999999999\r\n":                                "-ERR Protocol error: invalid multibulk length|",
		} {
			p := dial()
			p.write(input)
			if want != "" {
				p.want(want)
			}
			if want != "+PONG|" {
				p.ends()
			}
		}
		if p := dial(); p.ask("PING") != "+PONG|" {
			t.Error("others are not served")
		}
	})
}

func TestShutdownLosesNoReply(t *testing.T) {
	onEach(t, gateway.Config{}, func(t *testing.T, h *testGateway, dial func() *peer) {
		const clients, commands = 20, 500
		peers, sent := make([]*peer, clients), 0
		for i := range peers {
			peers[i] = dial()
			lines := make([]string, commands)
			for j := range lines {
				lines[j] = fmt.Sprintf("INCR n%d", i)
				sent += len("*2\r\n$4\r\nINCR\r\n$2\r\n\r\n") + len(fmt.Sprint("n", i))
			}
			peers[i].send(lines...)
		}
		for _, p := range peers {
			p.want(":1|")
		}
		testkit.Await(t, "the gateway has read all bytes", h.Stats, func(s gateway.Stats) bool { return s.BytesIn >= uint64(sent) })
		blocked := dial()
		blocked.send("BLPOP nothing 0")
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		done := make(chan error, 1)
		go func() { done <- h.Shutdown(ctx) }()
		for _, p := range peers {
			for j := 2; j <= commands; j++ {
				p.want(fmt.Sprintf(":%d|", j))
			}
			p.ends()
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestTheTotalOfAllBuffersIsBounded(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	h := open(t, s.URL(), gateway.Config{OutputBuffer: 1 << 20, Buffers: 8 << 20})
	s.Do("SET", "big", strings.Repeat("x", 512<<10))
	for range 30 {
		slow := h.dial()
		slow.send("GET big", "GET big", "GET big", "GET big", "GET big", "GET big", "GET big", "GET big")
	}
	begun := h.dial()
	_, _ = io.WriteString(begun, "*2\r\n$3\r\nGET\r\n$30000000\r\n"+strings.Repeat("x", 10<<20)) // the gateway may close it during the write
	other := h.dial()
	testkit.Eventually(t, "clients are closed", func() bool {
		if got := other.ask("GET none"); got != "$-1|" {
			t.Fatal(got)
		}
		return h.Stats().SlowClosed > 0
	})
	testkit.Await(t, "the rest is within the bound", h.Stats, func(s gateway.Stats) bool { return s.Buffered < 8<<20 })
	if got := other.ask("PING"); got != "+PONG|" {
		t.Error(got)
	}
}

func TestAnEmptySetOfUsersRefusesAllClients(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	h := open(t, s.URL(), gateway.Config{Users: map[string]gateway.User{}})
	p := h.dial()
	p.send("GET a", "AUTH x", "AUTH default x", "GET a")
	p.want("-NOAUTH Authentication required.|", "-WRONGPASS invalid username-password pair or user is disabled.|",
		"-WRONGPASS invalid username-password pair or user is disabled.|", "-NOAUTH Authentication required.|")
}

func TestAResetEndsThePermissionsOfTheUser(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	h := open(t, s.URL(), gateway.Config{Users: map[string]gateway.User{
		"default": {Commands: []string{"read"}},
		"writer":  {Passwords: []string{hash("w")}},
	}})
	p := h.dial()
	p.send("AUTH writer w", "SET a 1", "RESET", "SET a 2", "GET a")
	p.want("+OK|", "+OK|", "+RESET|", "-NOPERM User default has no permissions to run the 'set' command|", "$1|1|")

	s.Do("ACL", "SETUSER", "reader", "on", ">r", "~*", "+get", "+auth", "+hello", "+ping", "+client")
	h = open(t, s.URL()+"?max_connections=4", gateway.Config{PassThrough: true})
	p = h.dial()
	p.send("AUTH reader r", "GET a", "RESET", "SET a 3")
	p.want("+OK|", "$1|1|", "+RESET|", "+OK|")
}

func TestSubscriptionsNeedTheUsersPermission(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	s.Do("ACL", "SETUSER", "wide", "on", ">w", "~*", "&*", "+@all")
	s.Do("ACL", "SETUSER", "narrow", "on", ">n", "~*", "resetchannels", "&open", "+@all")
	h := open(t, s.URL()+"?max_connections=8", gateway.Config{PassThrough: true})
	p := h.dial()
	p.send("AUTH wide w", "SUBSCRIBE secret", "UNSUBSCRIBE secret", "AUTH narrow n")
	p.want("+OK|", "*3|$9|subscribe|$6|secret|:1|", "*3|$11|unsubscribe|$6|secret|:0|", "+OK|")
	if got := p.ask("SUBSCRIBE secret"); !strings.HasPrefix(got, "-NOPERM") {
		t.Errorf("a user subscribed to what another one may hear: %q", got)
	}
	p.send("HELLO 3 AUTH wide w", "SUBSCRIBE one", "AUTH narrow n", "SUBSCRIBE open", "UNSUBSCRIBE")
	if got := p.frame(); got[0] != '%' {
		t.Fatal(got)
	}
	p.want(">3|$9|subscribe|$3|one|:1|", "+OK|", ">3|$9|subscribe|$4|open|:2|",
		">3|$11|unsubscribe|$3|one|:1|", ">3|$11|unsubscribe|$4|open|:0|")
	testkit.Eventually(t, "no client is subscribed", func() bool { return s.Do("PUBLISH", "one", "x") == "0" && s.Do("PUBLISH", "open", "x") == "0" })
}

func TestTheErrorForALargeRequestNamesTheLimit(t *testing.T) {
	onEach(t, gateway.Config{InputBuffer: 64 << 10}, func(t *testing.T, h *testGateway, dial func() *peer) {
		p := dial()
		p.write("*3\r\n$3\r\nSET\r\n$1\r\na\r\n$70000\r\n")
		p.want("-ERR respool: the request is larger than 64KiB (input_buffer)|")
		p.ends()
	})
}

// RESPOOL CLIENTS distinguishes clients that wait for a dedicated connection from clients that have one.
func TestTheConsoleShowsWaitingClients(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	h := open(t, s.URL()+"?max_connections=2&timeout=600&blocking=dedicated", gateway.Config{})
	first, second, operator := h.dial(), h.dial(), h.dial()
	state := func(state string) int { return strings.Count(operator.ask("RESPOOL CLIENTS"), "state="+state+"|") }
	first.send("BLPOP a 0")
	testkit.Eventually(t, "one client blocks", func() bool { return state("blocked,busy") == 1 })
	second.send("BLPOP b 0")
	testkit.Eventually(t, "the other client waits", func() bool { return state("waiting") == 1 })
	s.Do("RPUSH", "a", "1")
	first.want("*2|" + bulk("a") + bulk("1"))
	testkit.Eventually(t, "the other client blocks", func() bool { return state("blocked,busy") == 1 })
}
