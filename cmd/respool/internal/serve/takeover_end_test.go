//go:build linux

package serve

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/listener"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/takeover"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/tooltest"
	"github.com/seed-2b0d76a6/respool/internal/gateway"
	"github.com/seed-2b0d76a6/respool/internal/gateway/session"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// predecessor is a running gateway that is killed in a takeover, with its listener and two clients.
type predecessor struct {
	endpoint *takeover.Endpoint
	l        net.Listener
	clients  []net.Conn
}

// handOver follows the messages of a takeover up to the step last, and ends like a killed process.
func (p *predecessor) handOver(last takeover.Kind) error {
	defer func() {
		p.l.Close()
		p.endpoint.Close()
		for _, c := range p.clients {
			c.Close()
		}
	}()
	c, err := p.endpoint.Accept()
	if err != nil {
		return err
	}
	defer c.Close()
	for _, step := range []takeover.Kind{takeover.Hello, takeover.Offer, takeover.Ready, takeover.Go, takeover.Move, takeover.Moved} {
		m := takeover.Message{Kind: step, Places: 2, LastID: 50}
		switch step {
		case takeover.Hello, takeover.Ready, takeover.Moved:
			if m, _, err = c.Receive(tooltest.Patience); err == nil && m.Kind != step {
				err = fmt.Errorf("%v: want %v", m.Kind, step)
			}
		case takeover.Offer:
			m.Names = []takeover.Listener{{Name: p.l.Addr().String()}}
			err = errors.Join(err, listener.Control(p.l, func(fd uintptr) { err = c.Send(m, int(fd)) }))
		case takeover.Go:
			err = c.Send(m)
		case takeover.Move:
			m.Number, m.Client = 1, &gateway.Snapshot{Session: session.Snapshot{
				ID: 40, Addr: "127.0.0.1:1", Identity: session.Identity{User: "default", Proto: 2}, Authenticated: true}}
			raw, cerr := p.clients[0].(*net.TCPConn).SyscallConn()
			if cerr != nil {
				return cerr
			}
			err = errors.Join(err, raw.Control(func(fd uintptr) { err = c.Send(m, int(fd)) }))
		}
		if err != nil || step == last {
			return err
		}
	}
	return nil
}

// If the running gateway is killed at any step, the new process serves the clients that have moved, and all new ones, with all
// connections. The others see the end of their connection.
func TestTheRunningGatewayIsKilled(t *testing.T) {
	server := redistest.Start(t, redistest.Config{})
	for _, last := range []takeover.Kind{takeover.Hello, takeover.Offer, takeover.Ready, takeover.Go, takeover.Move, takeover.Moved} {
		t.Run(last.String(), func(t *testing.T) {
			flags := upgradable(t, server.URL()+"?max_connections=4")
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			addr := l.Addr().String()
			flags.Listen = []string{addr}
			moving, staying := tooltest.Dial(t, "tcp", addr), tooltest.Dial(t, "tcp", addr)
			p := &predecessor{l: l}
			for range 2 {
				c, err := l.Accept()
				if err != nil {
					t.Fatal(err)
				}
				p.clients = append(p.clients, c)
			}
			if p.endpoint, err = takeover.Listen(flags.Takeover); err != nil {
				t.Fatal(err)
			}
			killed := make(chan error, 1)
			go func() { killed <- p.handOver(last) }()
			r := served(t, &flags)
			if err := <-killed; err != nil {
				t.Fatal(err)
			}
			if last >= takeover.Move {
				moving.Do("+OK", "SET", "k", "v")
			}
			if _, err := staying.Reader.ReadByte(); !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("a client of the killed process: %v: want the end of its connection", err)
			}
			fresh := tooltest.Dial(t, "tcp", addr)
			fresh.Do("+OK", "SET", "k", "v")
			testkit.Eventually(t, "it has all connections", func() bool { return r.client.Engine().Stats().Nodes[0].Max == 4 })
			next := served(t, &flags)
			r.succeededBy(t, next)
			fresh.Do("v", "GET", "k")
		})
	}
}

// A new process that stops in the middle of a takeover leaves everything to the running one: the listeners, with the path of a Unix
// socket, the pages at their address, and the socket of other programs. The sockets of both never exceed the limit.
func TestTheNewProcessStopsInATakeover(t *testing.T) {
	dir := tooltest.ShortDir(t)
	at, socket := filepath.Join(dir, "clients"), filepath.Join(dir, "socket")
	u := startUpgrades(t, 4, func(f *Flags) {
		f.Listen, f.Socket = append(f.Listen, "unix://"+at), "unix://"+socket
	})
	r := u.running
	if strings.HasPrefix(u.addr, "/") {
		u.addr = r.at(t, 2)
	}
	page := r.log.Until(t, `msg=pages at=(\S+)/`, 1)
	open, moved := u.dial(), tooltest.Dial(t, "unix", at)
	moved.Do("+OK", "SET", "k", "v")
	for range 2 {
		open.Do("+OK", "MULTI") // holds up the takeover
		moved = tooltest.Dial(t, "unix", at)
		moved.Do("v", "GET", "k")
		next := u.next()
		testkit.Eventually(t, "a client has moved", func() bool { return next.gateway.Stats().Adopted > 0 })
		moved.Do("v", "GET", "k")
		next.stop <- os.Interrupt
		if err := next.ended(); err != nil {
			t.Error(err)
		}
		if _, err := moved.Reader.ReadByte(); err == nil {
			t.Error("the client that had moved stays connected")
		}
		for _, c := range []*tooltest.Client{u.dial(), tooltest.Dial(t, "unix", at)} {
			c.Do("v", "GET", "k")
		}
		open.Do("*0", "EXEC")
		r.page(t, "/readyz", 200)
		if got := r.log.Until(t, `(?s)msg=pages.*msg=pages at=(\S+)/`, 1); got != page {
			t.Errorf("the pages are at %s: want %s", got, page)
		}
		testkit.Eventually(t, "it has all connections, and listens at its paths", func() bool {
			_, err := os.Stat(socket)
			_, err2 := os.Stat(u.flags.Takeover)
			return err == nil && err2 == nil && r.client.Engine().Stats().Nodes[0].Max == 4
		})
	}
	u.succeed(u.next())
	open.Do("v", "GET", "k")
	tooltest.Dial(t, "unix", at).Do("v", "GET", "k")
	u.bounded(4)
}

// A new process that cannot start changes nothing for the running one.
func TestAProcessThatCannotStartTakesNothing(t *testing.T) {
	at := filepath.Join(tooltest.ShortDir(t), "clients")
	u := startUpgrades(t, 4, func(f *Flags) { f.Listen = []string{"unix://" + at} })
	client := tooltest.Dial(t, "unix", at)
	client.Do("+OK", "SET", "k", "v")
	used, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer used.Close()
	bad := u.flags
	bad.HTTP = used.Addr().String()
	if err := notServed(t, &bad); err == nil || !strings.Contains(err.Error(), "another process listens") {
		t.Errorf("%v: want an error", err)
	}
	client.Do("v", "GET", "k")
	tooltest.Dial(t, "unix", at).Do("v", "GET", "k")
	u.log.Until(t, "the takeover failed: this gateway goes on", 1)
	u.succeed(u.next())
	client.Do("v", "GET", "k")
}

// A client that the new process refuses goes on in the old one, and so does one whose message is not confirmed.
func TestARefusedClientGoesOn(t *testing.T) {
	u := startUpgrades(t, 4)
	r, client := u.running, u.dial()
	client.Do("+OK", "SET", "k", "v")
	s := r.dialed(t)
	m := s.takeOver(r, takeover.Move)
	s.send(takeover.Message{Kind: takeover.Moved, Number: m.Number, Text: "no"})
	for range 3 {
		client.Do("v", "GET", "k")
	}
	r.log.Until(t, "a client stays until the end of the drain.*error=no", 1)
	s.send(takeover.Message{Kind: takeover.Hello}) // it must not send that
	if m := s.until(takeover.Refusal); !strings.Contains(m.Text, "it sent Hello") {
		t.Errorf("%q", m.Text)
	}
	s.end()
	client.Do("v", "GET", "k")
	u.succeed(u.next())
	client.Do("v", "GET", "k")
	if n := strings.Count(r.log.String(), "a client stays"); n != 1 {
		t.Errorf("%d lines about the client: want 1", n)
	}
}

// A new process that reads nothing does not hold up the end of the drain.
func TestAProcessThatReadsNothing(t *testing.T) {
	u := startUpgrades(t, 4, drainsSoon)
	r, client := u.running, u.dial()
	if _, err := fmt.Fprintf(client.Conn, "*2\r\n$4\r\nECHO\r\n$600000\r\n%s", strings.Repeat("x", 400_000)); err != nil {
		t.Fatal(err)
	}
	r.dialed(t).takeOver(r, takeover.Go)
	r.log.Until(t, "handing over", 1)
	if err := r.ended(); err != nil {
		t.Error(err)
	}
	u.server.WaitClients(t, 0, tooltest.Patience)
}

// A process that takes over waits for the end of a reload.
func TestATakeoverWaitsForAReload(t *testing.T) {
	flags := upgradable(t, "")
	flags.Listen = nil
	c := startReloading(t, flags)
	tooltest.Rewrite(t, c.file, c.wrong, c.good)
	flags.Config = c.file
	next := begin(t, &flags)
	next.log.Until(t, "busy with another takeover or a reload", 1)
	c.end()
	c.succeededBy(t, next)
	c.counts(t, 0, 1)
}
