package e2e_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/fakeserver"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// described is the reply of a fake server about a command.
func described(name, flags string) string {
	words := strings.Fields(flags)
	for i, w := range words {
		words[i] = "+" + w + "\r\n"
	}
	return fakeserver.Array(fakeserver.Bulk(name), fakeserver.Int(-2), fakeserver.Array(words...), fakeserver.Int(1), fakeserver.Int(1),
		fakeserver.Int(1), fakeserver.Array())
}

// newer is a fake server with commands that the table lacks. It counts the queries about commands.
type newer struct {
	*fakeserver.Server
	all, names atomic.Int64
	command    atomic.Pointer[string] // the reply to COMMAND
	version    atomic.Pointer[string] // in the reply to HELLO
}

func startNewer(t *testing.T) *newer {
	n := &newer{}
	all := fakeserver.Array(described("get", "readonly"), described("doc.get", "readonly"), described("doc.set", "write"), described("doc.vague", "noscript"))
	version := "8.6.0"
	n.command.Store(&all)
	n.version.Store(&version)
	n.Server = fakeserver.Start(t, fakeserver.Config{Version: fakeserver.Redis86, Answer: n.answer})
	return n
}

func (n *newer) answer(c *fakeserver.Conn, args []string) (string, bool) {
	switch name := strings.ToUpper(args[0]); {
	case name == "COMMAND" && len(args) == 1:
		n.all.Add(1)
		return *n.command.Load(), true
	case name == "COMMAND":
		n.names.Add(1)
		if strings.HasPrefix(*n.command.Load(), "-") {
			return *n.command.Load(), true
		}
		if strings.EqualFold(args[2], "doc.late") {
			return fakeserver.Array(described("doc.late", "readonly")), true
		}
		return fakeserver.Array("*-1\r\n"), true
	case name == "HELLO" && len(args) > 1 && args[1] == "3":
		return fmt.Sprintf("%%3\r\n+server\r\n+redis\r\n+version\r\n+%s\r\n+proto\r\n:3\r\n", *n.version.Load()), true
	case strings.HasPrefix(name, "DOC."):
		return "+" + args[0] + "\r\n", true
	}
	return "", false
}

func inBothProtocols(t *testing.T, test func(t *testing.T, protocol int)) {
	for _, protocol := range []int{2, 3} {
		t.Run(fmt.Sprintf("RESP%d", protocol), func(t *testing.T) { test(t, protocol) })
	}
}

func TestOneQueryReturnsAllCommands(t *testing.T) {
	inBothProtocols(t, func(t *testing.T, protocol int) {
		s := startNewer(t)
		c := openClient(t, respool.Options{Addr: s.Addr(), MaxConnections: 4, Lanes: 1, Protocol: protocol})
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				name := []string{"DOC.GET", "doc.set", "Doc.Get"}[i%3]
				if got, err := c.Do(bounded(t), name, "k").Text(); got != name {
					t.Errorf("%q, %v", got, err)
				}
			})
		}
		wg.Wait()
		if all, names, conns := s.all.Load(), s.names.Load(), s.Accepted(); all != 1 || names != 0 || conns != 1 {
			t.Errorf("%d queries for all, %d for one name, on %d connections", all, names, conns)
		}
	})
}

// The client queries a missing name once on its own. It does not query an absent command at every use.
func TestNamesAreQueriedAtALimitedRate(t *testing.T) {
	s := startNewer(t)
	c := openClient(t, respool.Options{Addr: s.Addr(), MaxConnections: 4, Lanes: 1, Protocol: 3})
	ctx := bounded(t)
	mustDo(t, c, "DOC.LATE", "k")
	mustDo(t, c, "DOC.LATE", "k")
	if all, names := s.all.Load(), s.names.Load(); all != 1 || names != 1 {
		t.Errorf("%d queries for all, %d for one name", all, names)
	}
	began := time.Now()
	for i := range 500 {
		wantServerError(t, c.Do(ctx, "NOSUCH"+strconv.Itoa(i), "k").Err(), "ERR")
		wantServerError(t, c.Do(ctx, "NOSUCH", "k").Err(), "ERR")
	}
	if n, most := s.names.Load(), int64(25+21*time.Since(began)/time.Second+20); n > most {
		t.Errorf("%d queries for names: want %d at most", n, most)
	}
	if n := s.Accepted(); n > 2 {
		t.Errorf("%d connections", n)
	}
}

// The client queries a server again after its version has changed.
func TestAnotherVersionIsQueriedAgain(t *testing.T) {
	s := startNewer(t)
	c := openClient(t, respool.Options{Addr: s.Addr(), MaxConnections: 4, Lanes: 1, Protocol: 3})
	mustDo(t, c, "DOC.GET", "k")
	s.CloseConns()
	testkit.Eventually(t, "DOC.GET succeeds on the second connection", func() bool { return c.Do(bounded(t), "DOC.GET", "k").Err() == nil && s.Accepted() == 2 })
	if n := s.all.Load(); n != 1 {
		t.Errorf("the same version was queried %d times", n)
	}
	version := "9.0.0"
	s.version.Store(&version)
	s.CloseConns()
	testkit.Eventually(t, "DOC.GET succeeds on the third connection", func() bool { return c.Do(bounded(t), "DOC.GET", "k").Err() == nil && s.Accepted() == 3 })
	testkit.Eventually(t, "the client loads the command table again", func() bool { return c.Do(bounded(t), "DOC.GET", "k").Err() == nil && s.all.Load() == 2 })
}

// A pipeline, a transaction and a watch learn their commands before they send them.
func TestPipelinesLearnTheirCommands(t *testing.T) {
	s := redistest.Start(t, redistest.Config{Args: []string{"--rename-command", "GET", "MYGET", "--rename-command", "SET", "MYSET",
		"--rename-command", "BLPOP", "MYBLPOP", "--rename-command", "TIME", "MYTIME"}})
	for _, most := range []int{1, 3} {
		inBoth(t, s, func(t *testing.T, _ *respool.Client, protocol int) {
			c := newClient(t, s, func(o *respool.Options) { o.Protocol, o.MaxConnections, o.Lanes = protocol, most, 1 })
			ctx := bounded(t)
			replies, err := c.Pipeline().Do("MYSET", "k", "v").Do("MYGET", "k").Do("PING").Exec(ctx)
			if err != nil || len(replies) != 3 {
				t.Fatal(replies, err)
			}
			wantText(t, replies[1], "v")
			_, err = c.Pipeline().Do("PING").Do("MYTIME").Exec(ctx)
			wantWords(t, err, "pipeline command 1", "is unknown", "Client.Do")
			_, err = c.Pipeline().Do("MYBLPOP", "q", 0).Exec(ctx)
			wantWords(t, err, "pipeline command 0", "blocks")
			before := c.Stats().Dials
			for range 5 {
				replies, err = c.Transaction().Do("MYSET", "k", "w").Do("MYGET", "k").Do("MYBLPOP", "none", 0).Exec(ctx)
				if err != nil || len(replies) != 3 {
					t.Fatal(replies, err)
				}
				wantText(t, replies[1], "w")
				if replies, err = c.Transaction().Do("MYTIME").Exec(ctx); err != nil || len(replies) != 1 {
					t.Fatal(replies, err)
				}
				replies, err = c.Watch(ctx, []string{"k"}, func(w *respool.Watched) error {
					wantText(t, w.Do(ctx, "MYGET", "k"), "w")
					w.Queue("MYSET", "k", "w").Queue("MYTIME")
					return nil
				})
				if err != nil || len(replies) != 2 {
					t.Fatal(replies, err)
				}
			}
			if n := c.Stats().Dials; n > before+1 {
				t.Errorf("%d dials, %d before: want one more at most", n, before)
			}
		})
	}
}

// With a single connection, the query uses the held connection.
func TestTheQueryUsesAHeldConnection(t *testing.T) {
	s := startNewer(t)
	c := openClient(t, respool.Options{Addr: s.Addr(), MaxConnections: 1, WaitTimeout: time.Minute, Protocol: 3})
	conn := acquire(t, c)
	for range 3 {
		wantText(t, conn.Do(bounded(t), "DOC.GET", "k"), "DOC.GET")
	}
	replies, err := conn.Pipeline().Do("DOC.SET", "k", "v").Do("DOC.VAGUE").Exec(bounded(t))
	if err != nil || len(replies) != 2 {
		t.Fatal(replies, err)
	}
	conn.Release()
	mustDo(t, c, "DOC.GET", "k")
	if s.all.Load() != 1 || s.Accepted() != 1 || s.Count("RESET") != 1 {
		t.Errorf("%d queries, %d connections, %d resets", s.all.Load(), s.Accepted(), s.Count("RESET"))
	}
}

// If a server hides its commands, they run on a connection that the client resets and reuses.
func TestHiddenCommandsReuseTheirConnection(t *testing.T) {
	s := redistest.Start(t, redistest.Config{
		Args:  []string{"--rename-command", "GET", "MYGET", "--rename-command", "TIME", "MYTIME", "--rename-command", "SELECT", "MYSELECT"},
		Users: []string{"shy on >secret ~* &* +@all -command"},
	})
	inBoth(t, s, func(t *testing.T, _ *respool.Client, protocol int) {
		s.Do("SET", "k", "v")
		c := newClient(t, s, func(o *respool.Options) {
			o.Username, o.Password, o.Protocol, o.MaxConnections = "shy", "secret", protocol, 4
		})
		ctx := bounded(t)
		mustDo(t, c, "PING")
		for range 30 {
			wantText(t, mustDo(t, c, "MYGET", "k"), "v")
			mustDo(t, c, "MYSELECT", 5)
			wantText(t, c.Do(ctx, "ACL", "WHOAMI"), "shy")
		}
		if replies, err := c.Transaction().Do("MYGET", "k").Exec(ctx); err != nil || len(replies) != 1 {
			t.Error(replies, err)
		}
		if n := c.Stats().Dials; n > 2 {
			t.Errorf("%d dials: want a lane and a connection that is used again", n)
		}
		for _, got := range clients(s, "stress") {
			if got["db"] != "0" || got["user"] != "shy" || got["name"] != "stress" {
				t.Errorf("the state of a connection is %v", got)
			}
		}
	})
}

// Without RESET the client closes such a connection, and also after a command without a reply.
func TestAConnectionThatCannotBeRestoredIsClosed(t *testing.T) {
	for name, reset := range map[string]string{"RESET is not known": "-ERR unknown command 'RESET'\r\n", "RESET replies with something else": "+OK\r\n"} {
		t.Run(name, func(t *testing.T) {
			s := fakeserver.Start(t, fakeserver.Config{Answer: func(c *fakeserver.Conn, args []string) (string, bool) {
				switch args[0] {
				case "COMMAND":
					return "-NOPERM no\r\n", true
				case "RESET":
					return reset, true
				case "DOC.GET":
					return "+yes\r\n", true
				case "DOC.HANG":
					return "", true
				}
				return "", false
			}})
			c := openClient(t, respool.Options{Addr: s.Addr(), MaxConnections: 4, Protocol: 3})
			for range 3 {
				wantText(t, mustDo(t, c, "DOC.GET"), "yes")
			}
			testkit.Await(t, "one connection is open", s.Open, testkit.Is(1))
			ctx, cancel := context.WithTimeout(bounded(t), 50*time.Millisecond)
			defer cancel()
			if err := c.Do(ctx, "DOC.HANG").Err(); err == nil {
				t.Error("DOC.HANG returned no error")
			}
			testkit.Await(t, "one connection is open", s.Open, testkit.Is(1))
			if n := s.Count("RESET"); n != 3 {
				t.Errorf("%d resets", n)
			}
		})
	}
}

// The client reports a temporary state of the server, and queries it again.
func TestABusyServerIsQueriedAgain(t *testing.T) {
	s := startNewer(t)
	all := *s.command.Load()
	busy := fakeserver.Redis86.Busy()
	s.command.Store(&busy)
	c := openClient(t, respool.Options{Addr: s.Addr(), MaxConnections: 4, Lanes: 1, Protocol: 3})
	wantServerError(t, c.Do(bounded(t), "DOC.GET", "k").Err(), "BUSY")
	s.command.Store(&all)
	wantText(t, c.Do(bounded(t), "DOC.GET", "k"), "DOC.GET")
	if n := s.Accepted(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// The client restores a held connection after unknown commands, in any state.
func TestAHeldConnectionIsRestored(t *testing.T) {
	s := redistest.Start(t, redistest.Config{Args: []string{"--rename-command", "TIME", "MYTIME", "--rename-command", "SELECT", "MYSELECT",
		"--rename-command", "MULTI", "MYMULTI"}})
	inBoth(t, s, func(t *testing.T, _ *respool.Client, protocol int) {
		for _, commands := range []string{"MYTIME", "MYSELECT 3", "WATCH k;MYTIME", "MYMULTI;SET k v", "CLIENT SETNAME other;MYTIME", "MYTIME;NOSUCH"} {
			c := newClient(t, s, func(o *respool.Options) { o.MaxConnections, o.Protocol = 1, protocol })
			conn := acquire(t, c)
			for command := range strings.SplitSeq(commands, ";") {
				if err := conn.Do(bounded(t), fieldsOf(command)...).Err(); err != nil && command != "NOSUCH" {
					t.Errorf("%s: %v", command, err)
				}
			}
			conn.Release()
			wantText(t, mustDo(t, c, "SET", "k", "v"), "OK")
			kept := !strings.HasPrefix(commands, "CLIENT") // RESET may keep a part of the state
			if n := c.Stats().Dials; (n == 1) != kept {
				t.Errorf("%s: %d dials", commands, n)
			}
			for _, got := range clients(s, "stress") {
				if got["db"] != "0" || got["flags"] != "N" || s.Version().Since(7, 0) && got["resp"] != strconv.Itoa(protocol) {
					t.Errorf("%s: the next one gets %v", commands, got)
				}
			}
		}
	})
}

// If the server refuses COMMAND, or its reply is too large, the client queries single names.
func TestNamesAreQueriedIfCOMMANDFails(t *testing.T) {
	for name, c := range map[string]struct {
		all   string // the reply to COMMAND
		limit int64
		asked int // the number of COMMAND queries
	}{
		"COMMAND is refused":       {"-NOPERM no\r\n", 0, 1},
		"COMMAND is not known":     {"-ERR unknown command 'COMMAND'\r\n", 0, 1},
		"COMMAND makes no sense":   {"+OK\r\n", 0, 1},
		"replies have to be small": {"", 1000, 0},
	} {
		t.Run(name, func(t *testing.T) {
			var all, names atomic.Int64
			s := fakeserver.Start(t, fakeserver.Config{Answer: func(_ *fakeserver.Conn, args []string) (string, bool) {
				switch {
				case strings.HasPrefix(args[0], "DOC."):
					return "+" + args[0] + "\r\n", true
				case args[0] != "COMMAND":
					return "", false
				case len(args) == 1:
					all.Add(1)
					return c.all, true
				}
				names.Add(1)
				return fakeserver.Array(described(strings.ToLower(args[2]), "write")), true
			}})
			client := openClient(t, respool.Options{Addr: s.Addr(), MaxConnections: 4, Lanes: 1, Protocol: 3, ReplyLimit: c.limit})
			for range 5 {
				wantText(t, mustDo(t, client, "DOC.A", "k"), "DOC.A")
				wantText(t, mustDo(t, client, "DOC.B", "k"), "DOC.B")
			}
			if all.Load() != int64(c.asked) || names.Load() != 2 || s.Accepted() != 1 {
				t.Errorf("%d queries for all, %d for one name, on %d connections", all.Load(), names.Load(), s.Accepted())
			}
		})
	}
}
