//go:build unix

package redistest

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/testkit"
)

// patience limits every wait of these tests.
const patience = testkit.Patience

// ask sends one inline command on conn and returns the first line of the reply.
func ask(t testing.TB, conn net.Conn, command string) string {
	t.Helper()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, command+"\r\n"); err != nil {
		t.Fatalf("%s: %v", command, err)
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		t.Fatalf("%s: %v", command, err)
	}
	return strings.TrimSpace(line)
}

func connect(t testing.TB, network, addr string) net.Conn {
	t.Helper()
	conn, err := net.DialTimeout(network, addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func connectTLS(t testing.TB, s *Server, cfg *tls.Config) (*tls.Conn, error) {
	t.Helper()
	conn := tls.Client(connect(t, "tcp", s.Addr()), cfg)
	return conn, conn.Handshake()
}

func want(t testing.TB, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %q: want %q", what, got, want)
	}
}

func running(pid int) bool { return syscall.Kill(pid, 0) == nil }

func TestAPlainServerReplies(t *testing.T) {
	s := Start(t, Config{})
	want(t, "PING", ask(t, connect(t, "tcp", s.Addr()), "PING"), "+PONG")
	want(t, "URL", s.URL(), "redis://"+s.Addr())
	want(t, "plain address", s.PlainAddr(), s.Addr())
	want(t, "socket", s.Socket(), "")
	want(t, "CA file", s.CAFile(), "")
	want(t, "save", s.Do("CONFIG", "GET", "save"), "save\n")
	want(t, "DEBUG", s.Do("DEBUG", "SLEEP", "0"), "OK")
}

func TestTheServerEndsWithTheTest(t *testing.T) {
	var pid int
	var socket string
	t.Run("inner", func(t *testing.T) {
		s := Start(t, Config{Unix: true})
		pid, socket = s.PID(), s.Socket()
		s.WatchClients()
	})
	if running(pid) {
		t.Errorf("process %d still runs", pid)
	}
	if _, err := os.Stat(socket); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket still exists: %v", err)
	}
}

func TestAPasswordIsRequired(t *testing.T) {
	s := Start(t, Config{Password: "p@ss/word"})
	conn := connect(t, "tcp", s.Addr())
	want(t, "PING", ask(t, conn, "PING"), "-NOAUTH Authentication required.")
	want(t, "AUTH", ask(t, conn, "AUTH p@ss/word"), "+OK")
	u, err := url.Parse(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	password, _ := u.User.Password()
	want(t, "password of the URL", password, "p@ss/word")
	want(t, "control", s.Do("PING"), "PONG")
}

func TestUsersOfTheConfig(t *testing.T) {
	for _, rule := range []string{"alice on >secret ~* +ping", "user alice on >secret ~* +ping"} {
		s := Start(t, Config{Users: []string{rule, "bob on >other ~* +@all"}})
		conn := connect(t, "tcp", s.Addr())
		want(t, "AUTH alice", ask(t, conn, "AUTH alice secret"), "+OK")
		want(t, "PING", ask(t, conn, "PING"), "+PONG")
		if got := ask(t, conn, "GET k"); !strings.HasPrefix(got, "-NOPERM") {
			t.Errorf("GET: got %q: want NOPERM", got)
		}
		want(t, "AUTH bob", ask(t, conn, "AUTH bob other"), "+OK")
	}
}

func TestOnlyTheCAOfTheTestTrustsTheServer(t *testing.T) {
	s := Start(t, Config{TLS: true})
	conn, err := connectTLS(t, s, s.TLSConfig())
	if err != nil {
		t.Fatal(err)
	}
	want(t, "PING", ask(t, conn, "PING"), "+PONG")
	want(t, "plain PING", ask(t, connect(t, "tcp", s.PlainAddr()), "PING"), "+PONG")
	if _, err := connectTLS(t, s, &tls.Config{ServerName: "localhost"}); err == nil {
		t.Error("a client without the CA trusts the server")
	}
	withIP := s.TLSConfig()
	withIP.ServerName, withIP.Certificates = "127.0.0.1", nil
	if _, err := connectTLS(t, s, withIP); err != nil {
		t.Errorf("by address, without a client certificate: %v", err)
	}
	u, err := url.Parse(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	want(t, "scheme", u.Scheme, "rediss")
	want(t, "CA of the URL", u.Query().Get("ssl_ca_certs"), s.CAFile())
}

func TestTLSClientAuthRequiresACertificate(t *testing.T) {
	s := Start(t, Config{TLSClientAuth: true})
	conn, err := connectTLS(t, s, s.TLSConfig())
	if err != nil {
		t.Fatal(err)
	}
	want(t, "PING", ask(t, conn, "PING"), "+PONG")

	bare := s.TLSConfig()
	bare.Certificates = nil
	conn, err = connectTLS(t, s, bare)
	if err == nil { // with TLS 1.3 the first read fails
		_ = conn.SetDeadline(time.Now().Add(patience))
		_, err = conn.Read(make([]byte, 1))
	}
	if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("without a certificate: %v", err)
	}
	u, err := url.Parse(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	want(t, "certificate of the URL", u.Query().Get("ssl_certfile"), s.CertFile())
	want(t, "key of the URL", u.Query().Get("ssl_keyfile"), s.KeyFile())
}

func TestAUnixSocketReplies(t *testing.T) {
	s := Start(t, Config{Unix: true})
	want(t, "PING", ask(t, connect(t, "unix", s.Socket()), "PING"), "+PONG")
	s.Kill()
	s.Restart()
	want(t, "PING after a restart", ask(t, connect(t, "unix", s.Socket()), "PING"), "+PONG")
}

func TestMaxClientsAndArgumentsAreSet(t *testing.T) {
	s := Start(t, Config{MaxClients: 3, Args: []string{"--hz", "50", "--timeout", "7"}})
	want(t, "maxclients", s.Do("CONFIG", "GET", "maxclients"), "maxclients\n3")
	want(t, "hz", s.Do("CONFIG", "GET", "hz"), "hz\n50")
	want(t, "timeout", s.Do("CONFIG", "GET", "timeout"), "timeout\n7")
	for range 2 { // in addition to the control connection
		want(t, "PING", ask(t, connect(t, "tcp", s.Addr()), "PING"), "+PONG")
	}
	refused := connect(t, "tcp", s.Addr())
	_ = refused.SetDeadline(time.Now().Add(patience))
	got, _ := io.ReadAll(refused)
	want(t, "one too many", string(got), "-ERR max number of clients reached\r\n")
}

func TestTheConfiguredPortIsUsed(t *testing.T) {
	port := testkit.ReservePort(t)
	if s := Start(t, Config{Port: port}); s.port != port {
		t.Errorf("the port is %d: want %d", s.port, port)
	}
	port = testkit.ReservePort(t)
	if s := Start(t, Config{Port: port, TLS: true}); s.tls != port || s.port == port {
		t.Errorf("the ports are %d and %d: want TLS on %d", s.tls, s.port, port)
	}
}

func TestAnotherServerOnThePortIsDetected(t *testing.T) {
	first := Start(t, Config{})
	second := &Server{t: t, dir: t.TempDir(), port: first.port}
	err := second.run()
	t.Cleanup(second.end)
	if err == nil {
		t.Fatal("a server on a taken port started")
	}
	if !strings.Contains(err.Error(), "ended at once") {
		t.Errorf("run: %v", err)
	}
	want(t, "the first one", first.Do("PING"), "PONG")
}

func TestDataSurvivesAKillWithAppendOnly(t *testing.T) {
	s := Start(t, Config{AppendOnly: true})
	s.Do("SET", "k", "v")
	before := s.PID()
	s.Kill()
	if running(before) {
		t.Errorf("process %d still runs", before)
	}
	if _, err := s.TryDo("PING"); err == nil {
		t.Error("a killed server answers")
	}
	s.Restart()
	if s.PID() == before {
		t.Error("the restarted server is the same process")
	}
	want(t, "GET", s.Do("GET", "k"), "v")
}

func TestAKillLosesDataWithoutAppendOnly(t *testing.T) {
	s := Start(t, Config{})
	s.Do("SET", "k", "v")
	addr := s.Addr()
	s.Kill()
	s.Kill() // a second call has no effect
	s.Restart()
	want(t, "address", s.Addr(), addr)
	want(t, "EXISTS", s.Do("EXISTS", "k"), "0")
}

func TestStopEndsAPausedServerToo(t *testing.T) {
	s := Start(t, Config{})
	pid := s.PID()
	s.Pause()
	s.Stop()
	if running(pid) {
		t.Errorf("process %d still runs", pid)
	}
	if log := s.logTail(); !strings.Contains(log, "bye bye") {
		t.Errorf("it did not shut down: %s", log)
	}
	s.Restart()
	want(t, "PING", s.Do("PING"), "PONG")
}

func TestAPausedServerRepliesAfterResume(t *testing.T) {
	s := Start(t, Config{})
	conn := connect(t, "tcp", s.Addr())
	want(t, "PING", ask(t, conn, "PING"), "+PONG")
	s.Pause()
	if _, err := io.WriteString(conn, "PING\r\n"); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a paused server: %v", err)
	}
	s.Resume()
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	got := make([]byte, len("+PONG\r\n"))
	if _, err := io.ReadFull(conn, got); err != nil {
		t.Fatal(err)
	}
	want(t, "PING", string(got), "+PONG\r\n")
}
