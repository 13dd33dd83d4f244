package serve

import (
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/systemd"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/tooltest"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

const (
	isActive  = "msg=\"the new configuration is active"
	isInvalid = "msg=\"the new configuration is invalid"
)

// silent is a server that accepts connections and never replies.
type silent struct {
	net.Listener
	t *testing.T
}

func startSilent(t *testing.T) *silent {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return &silent{l, t}
}

// url is the URL of the server, for attempts without an end.
func (s *silent) url() string {
	return "redis://" + s.Addr().String() + "?max_connections=8&socket_connect_timeout=3600"
}

// attempt waits until a client has connected. end ends its attempt.
func (s *silent) attempt() (end func()) {
	s.t.Helper()
	c, err := s.Accept()
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	return func() {
		s.Close() // first, because the client may connect again
		c.Close()
	}
}

// reloading is a gateway whose reload does not end, because the new server never replies.
type reloading struct {
	*running
	file        string
	good, wrong string // URLs
	end         func() // ends the attempt
}

func startReloading(t *testing.T, flags Flags) *reloading {
	t.Helper()
	s, never := redistest.Start(t, redistest.Config{}), startSilent(t)
	c := &reloading{good: s.URL() + "?max_connections=8&socket_connect_timeout=3600", wrong: never.url()}
	c.file = tooltest.File(t, "respool.yaml", "url: '"+c.good+"'\ntell: []\nserve: {listen: ['127.0.0.1:0']}\n")
	flags.Config = c.file
	c.running = served(t, &flags)
	tooltest.Rewrite(t, c.file, c.good, c.wrong)
	c.signal(t)
	c.end = never.attempt()
	return c
}

// signal requests a reload. It fails if the gateway does not take the signal.
func (c *reloading) signal(t *testing.T) {
	t.Helper()
	select {
	case c.hup <- syscall.SIGHUP:
	case <-time.After(tooltest.Patience):
		t.Fatal("the gateway does not take SIGHUP")
	}
}

// counts checks how many reloads have ended.
func (r *running) counts(t *testing.T, active, invalid int) {
	t.Helper()
	text := r.log.String()
	if a, i := strings.Count(text, isActive), strings.Count(text, isInvalid); a != active || i != invalid {
		t.Errorf("%d reloads were valid and %d invalid: want %d and %d\n%s", a, i, active, invalid, text)
	}
}

// Signals during a reload cause one more, with the configuration of its beginning.
func TestSignalsDuringAReloadCauseOneMore(t *testing.T) {
	c := startReloading(t, Flags{})
	client := tooltest.Dial(t, "tcp", c.at(t, 1))
	for range 3 {
		c.signal(t)
		client.Do("+PONG", "PING")
		c.page(t, "/readyz", 200)
	}
	c.counts(t, 0, 0)
	tooltest.Rewrite(t, c.file, c.wrong, strings.Replace(c.good, "=8", "=4", 1))
	c.end()
	c.log.Until(t, "msg=changed option=MaxConnections from=8 to=4", 1)
	c.log.Until(t, isActive, 1)
	c.counts(t, 1, 1)
	c.signal(t)
	c.log.Until(t, isActive, 2)
	c.counts(t, 2, 1)
}

// A stop during a reload closes what the reload has opened.
func TestAStopDropsWhatAReloadOpened(t *testing.T) {
	s, never := redistest.Start(t, redistest.Config{}), startSilent(t)
	path := tooltest.ShortDir(t) + "/socket"
	file := tooltest.File(t, "respool.yaml", "url: '"+s.URL()+"'\ntell: []\nserve: {listen: ['127.0.0.1:0']}\n")
	r := served(t, &Flags{Config: file})
	tooltest.Rewrite(t, file, "url: '"+s.URL()+"'", "url: '"+never.url()+"'\nsocket: 'unix://"+path+"'")
	r.hup <- syscall.SIGHUP
	end := never.attempt()
	if _, err := os.Stat(path); err != nil {
		t.Errorf("%v: want the socket of the new configuration", err)
	}
	r.stop <- os.Interrupt
	r.log.Until(t, "stopping during a reload", 1)
	end() // the gateway waits for the end of the socket
	if err := r.ended(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("%v: want no socket", err)
	}
}

// A listener that fails ends the gateway during a reload too.
func TestAListenerFailsDuringAReload(t *testing.T) {
	c := startReloading(t, Flags{})
	c.fails = true
	for _, l := range c.listeners {
		_ = l.Inner.Close()
	}
	c.log.Until(t, "stopping during a reload", 1)
	c.end() // the gateway waits for the end of the socket
	if err := c.ended(); err == nil || !strings.Contains(err.Error(), "the gateway stopped listening") {
		t.Error(err)
	}
}

// The watchdog of systemd is fed during a reload, and each reload ends for systemd before the next one begins.
func TestSystemdFollowsReloads(t *testing.T) {
	next := notifications(t)
	t.Setenv("WATCHDOG_USEC", "20000")
	c := startReloading(t, Flags{})
	c.signal(t)
	for _, want := range []string{systemd.Ready, "RELOADING=1", systemd.Alive} {
		next(want)
	}
	tooltest.Rewrite(t, c.file, c.wrong, c.good)
	c.end()
	for _, want := range []string{systemd.Ready, "RELOADING=1", systemd.Ready, systemd.Alive} {
		next(want)
	}
}

// systemd does not see a stop before the end of a reload.
func TestSystemdFollowsAStopDuringAReload(t *testing.T) {
	next := notifications(t)
	c := startReloading(t, Flags{})
	c.stop <- os.Interrupt
	c.log.Until(t, "msg=stopping", 1)
	c.end() // the gateway waits for the end of the socket
	for _, want := range []string{systemd.Ready, "RELOADING=1", systemd.Ready, systemd.Stopping} {
		next(want)
	}
}

// notifications receives what systemd would receive. next waits for a notification, and fails if another one comes before,
// except for those of the watchdog.
func notifications(t *testing.T) (next func(want string)) {
	t.Helper()
	path := tooltest.ShortDir(t) + "/notify"
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	return func(want string) {
		t.Helper()
		if err := l.SetReadDeadline(time.Now().Add(tooltest.Patience)); err != nil {
			t.Fatal(err)
		}
		for b := make([]byte, 4096); ; {
			n, err := l.Read(b)
			if err != nil {
				t.Fatalf("%v: want %s", err, want)
			}
			got, _, _ := strings.Cut(string(b[:n]), "\n")
			if got == want {
				return
			}
			if got != systemd.Alive {
				t.Fatalf("%q: want %q", got, want)
			}
		}
	}
}
