package main

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/tooltest"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// Processes are killed in the middle of takeovers, the old one and the new one in turn. The clients of the other process go on,
// and the next takeover works. The sockets stay within the limit.
func TestProcessesAreKilledInTakeovers(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	count := s.WatchClients()
	addr := fmt.Sprint("127.0.0.1:", testkit.ReservePort(t))
	args := []string{"serve", s.URL() + "?max_connections=4", "--listen", addr, "--http", "off", "--takeover", filepath.Join(tooltest.ShortDir(t), "takeover")}
	start := func(until string) *process {
		p := startProcess(t, nil, nil, args...)
		p.log.Until(t, until, 1)
		return p
	}
	kill := func(p *process) {
		if err := p.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = p.ended()
	}
	ends := func(c *tooltest.Client) {
		t.Helper()
		if _, err := c.Reader.ReadByte(); err == nil {
			t.Error("a client of the killed process got a byte")
		}
	}
	old := start("msg=serving")
	for i := range 4 {
		open, idle := tooltest.Dial(t, "tcp", addr), tooltest.Dial(t, "tcp", addr)
		open.Do("+OK", "MULTI") // stays until EXEC
		idle.Do("+OK", "SET", "k", fmt.Sprint(i))
		next := start("taking over")
		testkit.Eventually(t, "the idle client has moved", func() bool {
			idle.Send("CLIENT", "ID")
			id, err := idle.Reader.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			c := tooltest.Dial(t, "tcp", addr)
			defer c.Close()
			c.Send("CLIENT", "LIST", "ID", strings.Trim(id, ":\r\n"))
			c.Send("QUIT")
			list, err := io.ReadAll(c.Reader)
			if err != nil {
				t.Fatal(err)
			}
			return strings.Contains(string(list), "id=")
		})
		if i%2 == 0 {
			kill(old)
			ends(open)
			idle.Do(fmt.Sprint(i), "GET", "k")
			next.log.Until(t, "the other gateway ended during the takeover", 1)
			old = next
		} else {
			kill(next)
			ends(idle)
			open.Do("*0", "EXEC")
			old.log.Until(t, "the new process ended during the takeover", 1)
		}
		tooltest.Dial(t, "tcp", addr).Do(fmt.Sprint(i), "GET", "k")
	}
	client := tooltest.Dial(t, "tcp", addr)
	client.Do("3", "GET", "k")
	next := start("took over the gateway")
	if err := old.ended(); err != nil {
		t.Errorf("%v:\n%s", err, old.log)
	}
	client.Do("3", "GET", "k")
	next.end(t)
	if peak := count.Stop(); peak > 4 {
		t.Errorf("%d connections: want 4 at most", peak)
	}
}
