//go:build unix

package main

import (
	"crypto/tls"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/serve"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/tooltest"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/yamlnode"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
)

// process is the tool in another process.
type process struct {
	cmd   *exec.Cmd
	log   *tooltest.Log
	ended func() error
}

// startProcess runs the tool through a shell, because only the parent of the tool knows LISTEN_PID
// before the tool starts.
func startProcess(t *testing.T, files []*os.File, env []string, args ...string) *process {
	t.Helper()
	shell := `LISTEN_PID=$$ exec "$0" "$@"`
	p := &process{cmd: exec.Command("sh", append([]string{"-c", shell, os.Args[0]}, args...)...), log: tooltest.NewLog()}
	p.cmd.Env = append(append(os.Environ(), asTool+"=1"), env...)
	p.cmd.ExtraFiles = files
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.ended = sync.OnceValue(p.cmd.Wait)
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // it has ended, unless the test failed
		_ = p.ended()
	})
	return p
}

func (p *process) signal(t *testing.T, s os.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// end sends SIGTERM. The process has to exit with 0.
func (p *process) end(t *testing.T) {
	t.Helper()
	p.signal(t, syscall.SIGTERM)
	if err := p.ended(); err != nil {
		t.Errorf("%v:\n%s", err, p.log)
	}
}

func TestTheProcessObeysItsSignals(t *testing.T) {
	file := tooltest.File(t, "respool.yaml", "url: redis://127.0.0.1:1\ntell: []\nlisten: 'off'\nserve: {listen: ['127.0.0.1:0']}\n")
	p := startProcess(t, nil, nil, "serve", "-c", file)
	c := tooltest.Dial(t, "tcp", p.log.Until(t, `msg=serving at=(\S+)`, 1))
	c.Do("+PONG", "PING")
	p.signal(t, syscall.SIGHUP)
	p.log.Until(t, "the new configuration is active", 1)
	c.Do("+PONG", "PING")
	tooltest.Rewrite(t, file, "serve:", "sevre:")
	p.signal(t, syscall.SIGHUP)
	p.log.Until(t, "invalid; the old one stays", 1)
	c.Do("+PONG", "PING")
	p.end(t)
}

func TestALowLimitOfFilesIsTold(t *testing.T) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	clients := min(limit.Max, yamlnode.MaxCount)
	p := startProcess(t, nil, nil, "serve", "--http", "off", "--listen", "127.0.0.1:0", "--max-clients", strconv.FormatUint(clients, 10))
	p.log.Until(t, "try:", 1)
	p.end(t)
	if told := strings.Contains(p.log.String(), "the open file limit is too low for max_clients"); told != (limit.Max < clients+serve.OtherFiles) {
		t.Errorf("limit %d: %s", limit.Max, p.log)
	}
}

func TestTheProcessEndsOnInterruptToo(t *testing.T) {
	p := startProcess(t, nil, nil, "serve", "--listen", "127.0.0.1:0", "--http", "off", "--json")
	p.log.Until(t, `"msg":"serving","at":"([^"]+)"`, 1)
	p.signal(t, os.Interrupt)
	if err := p.ended(); err != nil {
		t.Errorf("%v:\n%s", err, p.log)
	}
}

// notified is a socket at which systemd would receive notifications.
func notified(t *testing.T) (path string, next func() string) {
	t.Helper()
	path = filepath.Join(tooltest.ShortDir(t), "n")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return path, func() string {
		t.Helper()
		if err := l.SetReadDeadline(time.Now().Add(tooltest.Patience)); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 4096)
		n, err := l.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}
}

func TestSystemdIsTold(t *testing.T) {
	path, next := notified(t)
	p := startProcess(t, nil, []string{"NOTIFY_SOCKET=" + path}, "serve", "--listen", "127.0.0.1:0", "--http", "off")
	if got := next(); got != "READY=1" {
		t.Errorf("%q", got)
	}
	tooltest.Dial(t, "tcp", p.log.Until(t, `msg=serving at=(\S+)`, 1)).Do("+PONG", "PING")
	p.signal(t, syscall.SIGHUP)
	want := "^RELOADING=1\n$"
	if _, err := os.Stat("/proc/uptime"); err == nil { // Linux has the clock that systemd wants
		want = "^RELOADING=1\nMONOTONIC_USEC=[1-9][0-9]+\n$"
	}
	if got := next(); !regexp.MustCompile(want).MatchString(got) {
		t.Errorf("%q", got)
	}
	if got := next(); got != "READY=1" {
		t.Errorf("%q", got)
	}
	p.signal(t, syscall.SIGTERM)
	if got := next(); got != "STOPPING=1" {
		t.Errorf("%q", got)
	}
	if err := p.ended(); err != nil {
		t.Errorf("%v:\n%s", err, p.log)
	}
}

func TestTheWatchdogIsFed(t *testing.T) {
	path, next := notified(t)
	p := startProcess(t, nil, []string{"NOTIFY_SOCKET=" + path, "WATCHDOG_USEC=20000"}, "serve", "--listen", "127.0.0.1:0", "--http", "off")
	for i, want := range []string{"READY=1", "WATCHDOG=1", "WATCHDOG=1", "WATCHDOG=1"} {
		if got := next(); got != want {
			t.Errorf("%d: %q: want %q", i, got, want)
		}
	}
	p.end(t)
}

// passing is a socket as systemd passes it, and its address.
func passing(t *testing.T, network, addr string) (*os.File, string) {
	t.Helper()
	l, err := net.Listen(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	if u, ok := l.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false)
	}
	defer l.Close()
	f, err := l.(interface{ File() (*os.File, error) }).File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f, l.Addr().String()
}

func TestSystemdsSocketsAreServed(t *testing.T) {
	tcp, addr := passing(t, "tcp", "127.0.0.1:0")
	path := filepath.Join(tooltest.ShortDir(t), "s")
	unix, _ := passing(t, "unix", path)
	env := func(names string) []string {
		return []string{"LISTEN_FDS=" + strconv.Itoa(1+strings.Count(names, ":")), "LISTEN_FDNAMES=" + names}
	}
	for _, c := range []struct {
		names string
		args  []string
	}{
		{"respool:respool", nil},
		{"respool:respool", []string{"--listen", "systemd:respool"}},
		{"a:b", []string{"--listen", "systemd:b", "--listen", "systemd:a", "--listen", "127.0.0.1:0"}},
	} {
		p := startProcess(t, []*os.File{tcp, unix}, env(c.names), append([]string{"serve", "--http", "off"}, c.args...)...)
		p.log.Until(t, "try:", 1)
		byAddr, byPath := tooltest.Dial(t, "tcp", addr), tooltest.Dial(t, "unix", path)
		byAddr.Do("+PONG", "PING")
		byPath.Do("+PONG", "PING")
		p.signal(t, syscall.SIGHUP)
		p.log.Until(t, "the new configuration is active", 1)
		byAddr.Do("+PONG", "PING")
		tooltest.Dial(t, "unix", path).Do("+PONG", "PING")
		p.end(t)
	}
	cert, key, _ := testkit.NewAuthority(t).Issue(t, t.TempDir(), 2)
	p := startProcess(t, []*os.File{tcp, unix}, env("respool:respool"), "serve", "--http", "off", "--tls-cert", cert, "--tls-key", key)
	p.log.Until(t, "try:", 1)
	secure, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	tooltest.NewClient(t, secure).Do("+PONG", "PING")
	tooltest.Dial(t, "unix", path).Do("+PONG", "PING")
	p.end(t)
	if _, err := os.Stat(path); err != nil {
		t.Error(err) // it is systemd's: the next process gets it again
	}
	for args, want := range map[string]string{
		"--listen systemd:other":           "--listen systemd:other: systemd passed no socket of this name: want one of a, b",
		"--listen systemd:a":               `systemd passed the socket "b", but listen does not contain it: want systemd:b`,
		"--listen 127.0.0.1:0 --check=yes": "",
	} {
		p := startProcess(t, []*os.File{tcp, unix}, env("a:b"), append([]string{"serve", "--http", "off"}, strings.Fields(args)...)...)
		if err := p.ended(); (err == nil) != (want == "") || !strings.Contains(p.log.String(), want) {
			t.Errorf("%s: %v: %s", args, err, p.log)
		}
	}
}

func TestASocketOfSystemdsThatEverybodyReachesIsRefused(t *testing.T) {
	open, _ := passing(t, "tcp4", "0.0.0.0:0")
	p := startProcess(t, []*os.File{open}, []string{"LISTEN_FDS=1", "LISTEN_FDNAMES=respool"}, "serve", "--http", "off")
	if err := p.ended(); err == nil || !strings.Contains(p.log.String(), "respool: systemd:respool: everyone who can connect could use the server") {
		t.Errorf("%v: %s", err, p.log)
	}
}
