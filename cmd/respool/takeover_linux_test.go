package main

import (
	"os"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/tooltest"
)

// A process that takes over becomes the main process of its unit, and the old one exits with 0. The server may be down.
func TestTheProcessThatTakesOverIsTheMainProcess(t *testing.T) {
	path, next := notified(t)
	args := []string{"serve", "redis://127.0.0.1:1", "--listen", "127.0.0.1:0", "--http", "off", "--takeover", filepath.Join(tooltest.ShortDir(t), "takeover")}
	old := startProcess(t, nil, nil, args...)
	c := tooltest.Dial(t, "tcp", old.log.Until(t, `msg=serving at=(\S+)`, 1))
	c.Do("+PONG", "PING")
	p := startProcess(t, nil, []string{"NOTIFY_SOCKET=" + path}, args...)
	if got := next(); !regexp.MustCompile(`^MAINPID=[1-9][0-9]*$`).MatchString(got) {
		t.Errorf("%q", got)
	}
	if got := next(); got != "READY=1" {
		t.Errorf("%q", got)
	}
	p.log.Until(t, "took over the gateway", 1)
	if err := old.ended(); err != nil {
		t.Errorf("%v:\n%s", err, old.log)
	}
	c.Do("+PONG", "PING")
	p.end(t)
}

// Sockets that systemd passed to the old process move to the new one, and to the one after that.
func TestSocketsOfSystemdAreTakenOver(t *testing.T) {
	tcp, addr := passing(t, "tcp", "127.0.0.1:0")
	at := filepath.Join(tooltest.ShortDir(t), "s")
	unix, _ := passing(t, "unix", at)
	args := []string{"serve", "redis://127.0.0.1:1", "--listen", "systemd:respool", "--http", "off", "--takeover", filepath.Join(tooltest.ShortDir(t), "takeover")}
	p := startProcess(t, []*os.File{tcp, unix}, []string{"LISTEN_FDS=2", "LISTEN_FDNAMES=respool:respool"}, args...)
	p.log.Until(t, "try:", 1)
	tcp.Close()
	unix.Close()
	byAddr, byPath := tooltest.Dial(t, "tcp", addr), tooltest.Dial(t, "unix", at)
	for range 2 {
		byAddr.Do("+PONG", "PING")
		byPath.Do("+PONG", "PING")
		next := startProcess(t, nil, nil, args...)
		next.log.Until(t, "took over the gateway", 1)
		if err := p.ended(); err != nil {
			t.Errorf("%v:\n%s", err, p.log)
		}
		p = next
		byAddr.Do("+PONG", "PING")
		byPath.Do("+PONG", "PING")
		tooltest.Dial(t, "tcp", addr).Do("+PONG", "PING")
		tooltest.Dial(t, "unix", at).Do("+PONG", "PING")
		p.signal(t, syscall.SIGHUP)
		p.log.Until(t, "the new configuration is active", 1)
	}
	p.end(t)
}
