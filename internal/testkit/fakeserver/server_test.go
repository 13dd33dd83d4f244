package fakeserver

import (
	"bufio"
	"context"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/seed-2b0d76a6/respool/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience limits every wait of these tests.
const patience = testkit.Patience

func connect(t testing.TB, network, addr string) net.Conn {
	t.Helper()
	conn, err := net.DialTimeout(network, addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	return conn
}

// talk sends inline commands in one write and half-closes. It returns all replies.
func talk(t testing.TB, addr string, commands ...string) string {
	t.Helper()
	conn := connect(t, "tcp", addr)
	if _, err := io.WriteString(conn, strings.Join(commands, "\r\n")+"\r\n"); err != nil {
		t.Fatal(err)
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	all, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	return string(all)
}

func want(t testing.TB, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %q: want %q", what, got, want)
	}
}

func TestARefusedAuthIsDroppedWhileRepliesArePendingSince72(t *testing.T) {
	for _, v := range Versions {
		t.Run(v.String(), func(t *testing.T) {
			s := Start(t, Config{Version: v, Users: map[string]string{"alice": "secret"}})
			refused := ""
			if v == Redis62 || v == Redis70 {
				refused = WrongPass
			}
			want(t, "with pending replies", talk(t, s.Addr(), "PING", "AUTH alice wrong", "ECHO x"), "+PONG\r\n"+refused+"$1\r\nx\r\n")
			want(t, "first", talk(t, s.Addr(), "AUTH alice wrong", "ECHO x"), WrongPass+"$1\r\nx\r\n")
			want(t, "HELLO", talk(t, s.Addr(), "PING", "HELLO 3 AUTH alice wrong", "ECHO x"), "+PONG\r\n"+refused+"$1\r\nx\r\n")
			want(t, "right password", talk(t, s.Addr(), "PING", "AUTH alice secret", "ECHO x"), "+PONG\r\n+OK\r\n$1\r\nx\r\n")
		})
	}
}

func TestAFaultHitsOneReply(t *testing.T) {
	for name, x := range map[string]struct {
		kind FaultKind
		want string
	}{
		"drop":   {Drop, "$1\r\n1\r\n$1\r\n3\r\n"},
		"double": {Double, "$1\r\n1\r\n+PONG\r\n+PONG\r\n$1\r\n3\r\n"},
		"swap":   {Swap, "$1\r\n1\r\n$1\r\n3\r\n+PONG\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			s := Start(t, Config{})
			s.Fault(x.kind, Named("PING"))
			want(t, "with the fault", talk(t, s.Addr(), "ECHO 1", "PING", "ECHO 3"), x.want)
			want(t, "afterwards", talk(t, s.Addr(), "ECHO 1", "PING", "ECHO 3"), "$1\r\n1\r\n+PONG\r\n$1\r\n3\r\n")
		})
	}
}

func TestHelloIsConfigurable(t *testing.T) {
	for name, x := range map[string]struct{ hello, want string }{
		"refused": {"-ERR unsupported command\r\n", "-ERR unsupported command\r\n+PONG\r\n"},
		"silent":  {HelloSilent, "+PONG\r\n"},
		"closed":  {HelloClosed, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := Start(t, Config{Hello: x.hello})
			want(t, "HELLO", talk(t, s.Addr(), "HELLO 3", "PING"), x.want)
		})
	}
}

func TestAPasswordIsRequired(t *testing.T) {
	s := Start(t, Config{Password: "secret"})
	want(t, "without it", talk(t, s.Addr(), "PING"), NoAuth)
	want(t, "with it", talk(t, s.Addr(), "AUTH secret", "PING"), "+OK\r\n+PONG\r\n")
	s.SetPassword("default", "other")
	want(t, "with the old one", talk(t, s.Addr(), "AUTH secret", "PING"), WrongPass+NoAuth)
}

func TestItServesUnixSocketsAndMemory(t *testing.T) {
	ask := func(conn net.Conn) string {
		if _, err := io.WriteString(conn, "*2\r\n$4\r\nECHO\r\n$1\r\nx\r\n"); err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(conn).ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		return line
	}
	s := Start(t, Config{Unix: filepath.Join(t.TempDir(), "s")})
	want(t, "unix", ask(connect(t, "unix", s.Addr())), "$1\r\n")
	synctest.Test(t, func(t *testing.T) {
		m := Start(t, Config{Memory: true})
		conn, err := m.Dial(context.Background(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		want(t, "memory", ask(conn), "$1\r\n")
	})
}

func TestCommandsAndConnectionsAreCounted(t *testing.T) {
	s := Start(t, Config{Answer: func(_ *Conn, args []string) (string, bool) { return "-MY error\r\n", args[0] == "MINE" }})
	want(t, "replies", talk(t, s.Addr(), "MINE 1", "SET k v", "GET k", "GET none"), "-MY error\r\n+OK\r\n$1\r\nv\r\n$-1\r\n")
	want(t, "commands", strings.Join(s.Commands(), ", "), "MINE 1, SET k v, GET k, GET none")
	if n, m := s.Count("get"), s.Accepted(); n != 2 || m != 1 {
		t.Errorf("got %d GETs, %d connections: want 2 and 1", n, m)
	}
}
