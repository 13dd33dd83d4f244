package e2e_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/faultnet"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

func TestTLS(t *testing.T) {
	s := redistest.Start(t, redistest.Config{TLS: true, Password: "secret"})
	big := strings.Repeat("x", 5<<20)
	inBoth(t, s, func(t *testing.T, c *respool.Client, protocol int) { // by URL
		mustDo(t, c, "SET", "k", big)
		wantText(t, mustDo(t, c, "GET", "k"), big)
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() { wantText(t, c.Do(bounded(t), "ECHO", i), fmt.Sprint(i)) })
		}
		wg.Wait()
		conn := acquire(t, c)
		wantText(t, conn.Do(bounded(t), "PING"), "PONG")
	})
}

// refused returns the error of a client that must fail to connect.
func refused(t *testing.T, opt respool.Options) error {
	t.Helper()
	c := openClient(t, opt)
	err := c.Do(bounded(t), "PING").Err()
	wantConnError(t, err, false)
	return err
}

func TestErrorsOfTLS(t *testing.T) {
	s := redistest.Start(t, redistest.Config{TLSClientAuth: true})
	fits := func() *tls.Config { return s.TLSConfig() }
	opt := respool.Options{Addr: s.Addr(), TLS: fits()}
	wantText(t, mustDo(t, openClient(t, opt), "PING"), "PONG")

	opt.TLS = &tls.Config{Certificates: fits().Certificates}
	wantWords(t, refused(t, opt), "TLS handshake", "unknown authority")

	opt.TLS = fits()
	opt.TLS.ServerName = "elsewhere"
	wantWords(t, refused(t, opt), "TLS handshake", "elsewhere")

	opt.TLS = &tls.Config{RootCAs: fits().RootCAs}
	wantWords(t, refused(t, opt), "certificate")

	opt.TLS = nil
	wantWords(t, refused(t, opt), "handshake with "+s.Addr())

	// A server without TLS waits for the end of a line in the TLS handshake.
	opt.Addr, opt.TLS, opt.ConnectTimeout = s.PlainAddr(), fits(), 300*time.Millisecond
	wantWords(t, refused(t, opt), "TLS handshake with "+s.PlainAddr())
	s.WaitClients(t, 1, patience) // of the client with the right configuration
}

func TestPasswords(t *testing.T) {
	s := redistest.Start(t, redistest.Config{Password: "secret", Users: []string{"alice on >wonderland ~a* &* +@all"}})
	for _, protocol := range []int{0, 2, 3} {
		for _, tt := range []struct {
			user, password, code string
			words                []string
		}{
			{"", "secret", "", nil},
			{"default", "secret", "", nil},
			{"alice", "wonderland", "", nil},
			{"", "", "NOAUTH", []string{"requires a password, and none is configured"}},
			{"", "false", "WRONGPASS", []string{"refused the username or password"}},
			{"alice", "secret", "WRONGPASS", []string{"refused the username or password"}},
			{"nobody", "secret", "WRONGPASS", []string{"refused the username or password"}},
		} {
			t.Run(fmt.Sprint(protocol, tt.user, tt.password), func(t *testing.T) {
				opt := respool.Options{Addr: s.Addr(), Protocol: protocol, Username: tt.user, Password: tt.password}
				if tt.code != "" {
					err := refused(t, opt)
					wantServerError(t, err, tt.code)
					wantWords(t, err, tt.words...)
					return
				}
				c := openClient(t, opt)
				mustDo(t, c, "SET", "a", "v")
				if tt.user == "alice" {
					wantServerError(t, c.Do(bounded(t), "GET", "b").Err(), "NOPERM")
				}
			})
		}
	}
	open := redistest.Start(t, redistest.Config{})
	wantServerError(t, refused(t, respool.Options{Addr: open.Addr(), Password: "unwanted", Protocol: 2}), "ERR")
	s.WaitClients(t, 0, patience)
}

// No error, log or stats contain a password.
func TestPasswordsAreNeverShown(t *testing.T) {
	const password = "hunter2-in-the-clear"
	old := startFake(t, func(args []string) string { // repeats the arguments of unknown commands
		if args[0] == "PING" {
			return "-NOAUTH Authentication required.\r\n"
		}
		return fmt.Sprintf("-ERR unknown command `%s`, with args beginning with: `%s`, \r\n", args[0], strings.Join(args[1:], "`, `"))
	})
	s := redistest.Start(t, redistest.Config{Password: "another"})
	for _, addr := range []string{s.Addr(), old.Addr(), "127.0.0.1:1"} {
		for _, protocol := range []int{0, 2, 3} {
			var mu sync.Mutex
			var shown []string
			show := func(v any) {
				mu.Lock()
				defer mu.Unlock()
				shown = append(shown, fmt.Sprintf("%v %+v %#v %s %q", v, v, v, v, v))
				err, _ := v.(error)
				for ; err != nil; err = errors.Unwrap(err) {
					shown = append(shown, fmt.Sprintf("%+v %#v", err, err))
				}
			}
			opt := respool.Options{Addr: addr, Protocol: protocol, Username: "default", Password: password,
				OnEvent: func(e respool.Event) { show(e); show(e.Err) }}
			c := openClient(t, opt)
			show(c.Do(bounded(t), "PING").Err())
			show(c.Do(bounded(t), "PING"))
			_, err := c.Acquire(bounded(t))
			show(err)
			show(c.Stats())
			show(c.Stats().LastDialError)
			show(opt)
			show(&opt)
			if err := c.Close(bounded(t)); err != nil {
				t.Error(err)
			}
			show(c)
			_, err = respool.ParseURL("redis://default:" + password + "@" + addr + "/abc")
			show(err)
			mu.Lock()
			for _, text := range shown {
				if strings.Contains(text, password) {
					t.Errorf("%s, protocol %d: the password is in %.100s", addr, protocol, text)
				}
			}
			mu.Unlock()
		}
	}
}

func TestEachDialGetsCredentials(t *testing.T) {
	s := redistest.Start(t, redistest.Config{Users: []string{"alice on >first ~* &* +@all"}})
	var asked atomic.Int64
	var password atomic.Value
	password.Store("first")
	var failing atomic.Bool
	broken := errors.New("the vault is closed")
	c := newClient(t, s, func(o *respool.Options) {
		o.MaxConnections = 1
		o.Credentials = func(ctx context.Context) (respool.Credentials, error) {
			if _, ok := ctx.Deadline(); !ok {
				t.Error("the ctx has no deadline")
			}
			asked.Add(1)
			if failing.Load() {
				return respool.Credentials{}, broken
			}
			return respool.Credentials{Username: "alice", Password: password.Load().(string)}, nil
		}
	})
	wantText(t, mustDo(t, c, "ACL", "WHOAMI"), "alice")
	s.Do("ACL", "SETUSER", "alice", "resetpass", ">second")
	password.Store("second")
	killAll(s)
	wantText(t, mustDo(t, c, "ACL", "WHOAMI"), "alice")
	if n := asked.Load(); n != 2 {
		t.Errorf("asked %d times: want 2", n)
	}
	failing.Store(true)
	killAll(s)
	err := testkit.Await(t, "a PING fails", func() error { return c.Do(bounded(t), "PING").Err() }, failed)
	if !errors.Is(err, broken) {
		t.Errorf("got %v: want the function's error inside", err)
	}
	wantConnError(t, err, false)
}

func TestUnixSocket(t *testing.T) {
	s := redistest.Start(t, redistest.Config{Unix: true})
	c := openClient(t, respool.Options{Network: "unix", Addr: s.Socket(), MaxConnections: 3, ClientName: "by-socket"})
	big := strings.Repeat("x", 5<<20)
	mustDo(t, c, "SET", "k", big)
	wantText(t, mustDo(t, c, "GET", "k"), big)
	acquire(t, c).Release()
	for _, got := range clients(s, "by-socket") {
		if !strings.HasPrefix(got["addr"], s.Socket()) {
			t.Errorf("connected by %v", got)
		}
	}
	wantWords(t, refused(t, respool.Options{Network: "unix", Addr: s.Socket() + "x"}), "dial", "no such file")
	byURL, err := respool.Open(bounded(t), "unix://"+s.Socket())
	if err != nil {
		t.Fatal(err)
	}
	if err := byURL.Close(bounded(t)); err != nil {
		t.Error(err)
	}
}

func TestServerAtMaxclients(t *testing.T) {
	s := redistest.Start(t, redistest.Config{MaxClients: 4}) // one is the control connection of the test
	c := newClient(t, s, func(o *respool.Options) { o.MaxConnections, o.WaitTimeout = 8, 100*time.Millisecond })
	mustDo(t, c, "PING")
	held := []*respool.Conn{acquire(t, c), acquire(t, c)}
	_, err := c.Acquire(bounded(t))
	if !errors.Is(err, respool.ErrPoolExhausted) {
		t.Errorf("got %v: want ErrPoolExhausted", err)
	}
	wantWords(t, err, "maxclients")
	wantText(t, mustDo(t, c, "PING"), "PONG")
	wantWords(t, refused(t, respool.Options{Addr: s.Addr()}), "maxclients")
	held[0].Release()
	wantText(t, acquire(t, c).Do(bounded(t), "PING"), "PONG")
}

// While a server loads its data, callers get LOADING after the wait timeout. Then the client uses the server.
func TestServerThatLoadsItsData(t *testing.T) {
	args := []string{"--key-load-delay", "1000", "--rdbcompression", "no"}
	if redistest.ServerVersion(t).Since(7, 0) { // other versions reply after every 2 MiB that they load
		args = append(args, "--loading-process-events-interval-bytes", "65536")
	}
	s := redistest.Start(t, redistest.Config{Args: args})
	s.Do("DEBUG", "POPULATE", "3000", "key", "10000")
	s.Do("SAVE")
	c := newClient(t, s, func(o *respool.Options) { o.WaitTimeout = 50 * time.Millisecond })
	patient := newClient(t, s, func(o *respool.Options) { o.WaitTimeout = patience })
	mustDo(t, patient, "PING")
	s.Kill()
	testkit.Await(t, "no lane is left", patient.Stats, func(s respool.Stats) bool { return s.Lanes == 0 })
	restarted := make(chan struct{})
	go func() { s.Restart(); close(restarted) }()
	testkit.Eventually(t, "the server replies LOADING", func() bool {
		err := c.Do(bounded(t), "GET", "key:1").Err()
		var se *respool.ServerError
		if errors.As(err, &se) {
			wantServerError(t, err, "LOADING")
			wantWords(t, err, "the server is loading its data")
			wantConnError(t, err, false)
			return true
		}
		if err == nil {
			t.Error("the server had loaded its data before the first command")
		}
		return err == nil
	})
	before := patient.Stats().DialFailures
	mustDo(t, patient, "GET", "key:1")
	if n := patient.Stats().DialFailures - before; n < 1 || n > 20 {
		t.Errorf("%d dials failed meanwhile: want a few", n)
	}
	<-restarted
}

func TestWrongServers(t *testing.T) {
	for answer, words := range map[string][]string{
		"HTTP/1.1 400 Bad Request\r\n\r\n": {"not a Redis server", "HTTP/1.1 400"},
		"SSH-2.0-OpenSSH_9.2\r\n":          {"not a Redis server", "SSH-2.0"},
		"\x15\x03\x01\x00\x02\x02\x16":     {"speaks TLS", "rediss://"},
		"":                                 {"the server closed the connection"},
	} {
		f := startFake(t, func([]string) string { return answer })
		wantWords(t, refused(t, respool.Options{Addr: f.Addr(), LingerLimit: time.Second}), append(words, "handshake")...)
	}
}

func TestServerThatDoesNotReply(t *testing.T) {
	relay := faultnet.Start(t, "127.0.0.1:1")
	relay.Blackhole(true)
	err := refused(t, respool.Options{Addr: relay.Addr(), ConnectTimeout: 50 * time.Millisecond, LingerLimit: 50 * time.Millisecond})
	wantWords(t, err, "connect timeout of 50ms")
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%v is no timeout", err)
	}
}

func TestConnectionsAreNamed(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	for _, protocol := range []int{2, 3} {
		name := fmt.Sprint("service:1:pool", protocol)
		c := newClient(t, s, func(o *respool.Options) { o.ClientName, o.DB, o.Protocol = name, 3, protocol })
		mustDo(t, c, "PING")
		acquire(t, c)
		list := clients(s, name)
		if len(list) != 2 {
			t.Errorf("%d connections are named %s", len(list), name)
		}
		for _, got := range list {
			if got["db"] != "3" || !speaks(s, got, protocol) {
				t.Errorf("got %v", got)
			}
		}
	}
	f := startFake(t, welcome) // servers since 7.2 accept the name of the library
	mustDo(t, newFakeClient(t, f, nil), "PING")
	for _, want := range []string{"CLIENT SETINFO LIB-NAME respool", "CLIENT SETINFO LIB-VER " + respool.Version} {
		if !slices.Contains(f.Commands(), want) {
			t.Errorf("%q lacks %q", f.Commands(), want)
		}
	}
}

func TestOldServersGetRESP2(t *testing.T) {
	f := startFake(t, welcome)
	c := newFakeClient(t, f, func(o *respool.Options) { o.Protocol, o.Password, o.DB = 0, "secret", 4 })
	wantText(t, mustDo(t, c, "PING"), "PONG")
	if got := f.Commands(); !slices.Contains(got, "AUTH secret") || !slices.Contains(got, "SELECT 4") {
		t.Errorf("the handshake was %q", got)
	}
	opt := respool.Options{Addr: f.Addr(), Protocol: 3}
	wantServerError(t, refused(t, opt), "ERR")
}

func TestDialerOpensTheSockets(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	var dialed atomic.Int64
	c := newClient(t, s, func(o *respool.Options) {
		o.Addr = "nowhere.invalid:6379"
		o.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
			dialed.Add(1)
			if network != "tcp" || addr != "nowhere.invalid:6379" {
				t.Errorf("asked for %s %s", network, addr)
			}
			var d net.Dialer
			conn, err := d.DialContext(ctx, "tcp", s.Addr())
			return struct{ net.Conn }{conn}, err // hides the methods of the socket
		}
	})
	mustDo(t, c, "SET", "k", strings.Repeat("x", 1<<20))
	wantText(t, mustDo(t, c, "GET", "k"), strings.Repeat("x", 1<<20))
	if n := dialed.Load(); n != 1 {
		t.Errorf("%d dials", n)
	}
}
