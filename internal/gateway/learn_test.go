package gateway_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/seed-2b0d76a6/respool/internal/gateway"
	"github.com/seed-2b0d76a6/respool/internal/testkit/fakeserver"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// renamed renames commands to names that the command table lacks.
var renamed = redistest.Config{TLS: true, Args: []string{"--rename-command", "GET", "DOC.GET", "--rename-command", "SET", "DOC.SET",
	"--rename-command", "SAVE", "DOC.SAVE", "--rename-command", "TIME", "DOC.TIME", "--rename-command", "BLPOP", "DOC.BLPOP",
	"--rename-command", "REPLICAOF", "DOC.FOLLOW", "--rename-command", "RESTORE", "DOC.RESTORE"}}

func TestAnUnknownCommandWorksAtItsFirstUse(t *testing.T) {
	for _, protocol := range []string{"2", "3"} {
		s := redistest.Start(t, renamed)
		onEachBefore(t, s, s.PlainAddr(), gateway.Config{}, func(t *testing.T, h *testGateway, dial func() *peer) {
			p := dial()
			p.ask("HELLO " + protocol)
			p.ask("DEL k") // opens a lane of this protocol
			before := opened(s)
			// Inside MULTI, in one write with other commands.
			p.send("MULTI", "DOC.SET k 1", "INCR k", "DOC.GET k", "EXEC", "DOC.GET k")
			p.want("+OK|", "+QUEUED|", "+QUEUED|", "+QUEUED|", "*3|+OK|:2|$1|2|", "$1|2|")
			p.send("PING", "DOC.GET k", "DOC.NOSUCH k", "DOC.GET k", "ECHO a")
			p.want("+PONG|", "$1|2|")
			if got := p.frame(); !strings.HasPrefix(got, "-ERR unknown command") {
				t.Error(got)
			}
			p.want("$1|2|", "$1|a|")
			p.send("MULTI", "DOC.GET", "EXEC")
			p.want("+OK|", "-ERR wrong number of arguments for 'doc.get' command|", "-EXECABORT Transaction discarded because of previous errors.|")
			p.send("MULTI", "DOC.NOSUCH k", "EXEC")
			p.want("+OK|", "-ERR unknown command 'DOC.NOSUCH', with args beginning with: 'k' |", "-EXECABORT Transaction discarded because of previous errors.|")
			p.send("WATCH k", "DOC.GET k", "MULTI", "DOC.SET k 3", "EXEC")
			p.want("+OK|", "$1|2|", "+OK|", "+QUEUED|", "*1|+OK|")
			p.send("MULTI", "DOC.TIME", "EXEC")
			p.want("+OK|", "+QUEUED|")
			if got := strings.ReplaceAll(p.frame(), "\r\n", "|"); !strings.HasPrefix(got, "*1|*2|") {
				t.Error(got)
			}
			for range 20 {
				if got := p.ask("DOC.TIME"); !strings.HasPrefix(got, "*2|") {
					t.Error(got)
				}
			}
			if n := opened(s) - before; n > 1 {
				t.Errorf("%d more connections: want one, which is used again", n)
			}
		})
	}
}

// Concurrent clients share one query.
func TestClientsShareLearnedCommands(t *testing.T) {
	s := redistest.Start(t, renamed)
	h := open(t, "redis://"+s.PlainAddr()+"?max_connections=3&lanes=1", gateway.Config{})
	var wg sync.WaitGroup
	for i := range 30 {
		p := h.dial()
		wg.Go(func() {
			key := fmt.Sprintf("k%d", i)
			p.send("MULTI", "DOC.SET "+key+" "+key, "EXEC", "DOC.GET "+key)
			for _, want := range []string{"+OK|", "+QUEUED|", "*1|+OK|", bulk(key)} {
				if text, err := p.tryFrame(); strings.ReplaceAll(text, "\r\n", "|") != want {
					t.Errorf("%q, %v: want %q", text, err, want)
				}
			}
		})
	}
	wg.Wait()
	if stat := s.Info("commandstats")["cmdstat_command"]; s.Version().Since(7, 0) && !strings.HasPrefix(stat, "calls=1,") {
		t.Errorf("the server was asked for all commands: %s", stat)
	}
}

func TestALearnedAdminCommandIsRefusedAtItsFirstUse(t *testing.T) {
	s := redistest.Start(t, renamed)
	onEachBefore(t, s, s.PlainAddr(), gateway.Config{}, func(t *testing.T, h *testGateway, dial func() *peer) {
		const refused = "-NOPERM respool: DOC.SAVE needs admin: true in the gateway's configuration|"
		for range 2 {
			if got := dial().ask("DOC.SAVE"); got != refused {
				t.Error(got)
			}
			p := dial()
			p.send("MULTI", "DOC.FOLLOW no one", "EXEC")
			p.want("+OK|", "-NOPERM respool: DOC.FOLLOW needs admin: true in the gateway's configuration|", "-EXECABORT Transaction discarded because of previous errors.|")
		}
	})
	h := open(t, "redis://"+s.PlainAddr()+"?max_connections=3", gateway.Config{Admin: true})
	if got := h.dial().ask("DOC.SAVE"); got != "+OK|" {
		t.Error(got)
	}
}

// The classes of a user apply to the server's description of a command.
func TestClassesOfUsersApplyToLearnedCommands(t *testing.T) {
	s := redistest.Start(t, renamed)
	h := open(t, "redis://"+s.PlainAddr()+"?max_connections=3", gateway.Config{Admin: true, Users: map[string]gateway.User{
		"reader": {Commands: []string{"read"}}, "writer": {Commands: []string{"read", "write"}}, "waiter": {Commands: []string{"read", "write", "blocking"}},
		"plain": {}, "chief": {Commands: []string{"all"}},
	}})
	no := func(user, command string) string {
		return fmt.Sprintf("-NOPERM User %s has no permissions to run the '%s' command|", user, command)
	}
	for _, c := range []struct{ user, command, want string }{
		{"reader", "DOC.GET none", "$-1|"},
		{"reader", "DOC.SET k v", no("reader", "doc.set")},
		{"reader", "DOC.TIME", no("reader", "doc.time")},
		{"reader", "DOC.NOSUCH", no("reader", "DOC.NOSUCH")},
		{"writer", "DOC.SET k v", "+OK|"},
		{"writer", "DOC.BLPOP none 0.01", no("writer", "doc.blpop")},
		{"waiter", "DOC.BLPOP none 0.01", "*-1|"},
		{"plain", "DOC.SET k v", "+OK|"},
		{"plain", "DOC.SAVE", no("plain", "doc.save")},
		{"chief", "DOC.FOLLOW no one", "+OK|"},
	} {
		for _, inMulti := range []bool{false, true} {
			p := h.dial()
			if got := p.ask("AUTH " + c.user + " x"); got != "+OK|" {
				t.Fatal(got)
			}
			if !inMulti {
				if got := p.ask(c.command); got != c.want {
					t.Errorf("%s: %s: %q, want %q", c.user, c.command, got, c.want)
				}
				continue
			}
			p.ask("MULTI")
			want := "+QUEUED|"
			if strings.HasPrefix(c.want, "-") {
				want = c.want
			}
			if got := p.ask(c.command); got != want {
				t.Errorf("%s: in MULTI %s: %q, want %q", c.user, c.command, got, want)
			}
		}
	}
}

// If a server does not describe its commands, they run on connections that are reset before the next use.
func TestCommandsThatTheServerDoesNotDescribe(t *testing.T) {
	s := redistest.Start(t, redistest.Config{Args: renamed.Args, Users: []string{"shy on >secret ~* &* +@all -command"}})
	for _, protocol := range []string{"2", "3"} {
		h := open(t, "redis://shy:secret@"+s.PlainAddr()+"?max_connections=4", gateway.Config{})
		p := h.dial()
		p.ask("HELLO " + protocol)
		p.ask("SELECT 3")
		p.ask("SELECT 0")
		p.ask("DOC.SET k v")
		before := opened(s)
		for range 20 {
			if got := p.ask("DOC.GET k"); got != "$1|v|" {
				t.Fatal(got)
			}
			p.send("MULTI", "DOC.SET k v", "INCR n", "DOC.GET k", "EXEC")
			p.want("+OK|", "+QUEUED|", "+QUEUED|", "+QUEUED|")
			if got := strings.ReplaceAll(p.frame(), "\r\n", "|"); !strings.HasPrefix(got, "*3|+OK|:") || !strings.HasSuffix(got, "$1|v|") {
				t.Fatal(got)
			}
		}
		if n := opened(s) - before; n > 1 {
			t.Errorf("RESP%s: %d more connections for 40 uses", protocol, n)
		}
	}
}

// All users run commands that the gateway's own user has learned, even if they may not query them.
func TestAllUsersShareLearnedCommands(t *testing.T) {
	s := redistest.Start(t, redistest.Config{Args: renamed.Args, Users: []string{"shy on >secret ~* &* +@all -command"}})
	h := open(t, "redis://"+s.PlainAddr()+"?max_connections=4", gateway.Config{PassThrough: true})
	p := h.dial()
	if got := p.ask("AUTH shy secret"); got != "+OK|" {
		t.Fatal(got)
	}
	p.ask("PING")
	p.ask("GET k")
	before := opened(s)
	p.send("MULTI", "DOC.SET k v", "EXEC")
	p.want("+OK|", "+QUEUED|", "*1|+OK|")
	for range 20 {
		if got := p.ask("DOC.GET k"); got != "$1|v|" {
			t.Fatal(got)
		}
	}
	if n := opened(s) - before; n > 1 {
		t.Errorf("%d more connections", n)
	}
	if log := s.Do("ACL", "LOG"); strings.Contains(log, "command") {
		t.Errorf("the user did not ask: %s", log)
	}
}

// If the query fails, a transaction aborts with a retryable error, rather than with one about the command.
func TestACommandThatCannotBeLearnedNow(t *testing.T) {
	busy := fakeserver.Redis86.Busy()
	s := fakeserver.Start(t, fakeserver.Config{Version: fakeserver.Redis86, Answer: func(_ *fakeserver.Conn, args []string) (string, bool) {
		if args[0] == "COMMAND" {
			return busy, true
		}
		return "", false
	}})
	h := open(t, "redis://"+s.Addr()+"?max_connections=2&timeout=1", gateway.Config{})
	p := h.dial()
	p.send("MULTI", "DOC.GET k", "EXEC")
	p.want("+OK|", strings.ReplaceAll(busy, "\r\n", "|"), "-EXECABORT Transaction discarded because of previous errors.|")
	s.Close()
	p = h.dial()
	p.send("MULTI", "DOC.GET k", "EXEC")
	p.want("+OK|")
	if got := p.frame(); !strings.HasPrefix(got, "-LOADING respool: ") || strings.Contains(got, "may have been") {
		t.Error(got)
	}
	p.want("-EXECABORT Transaction discarded because of previous errors.|")
}
