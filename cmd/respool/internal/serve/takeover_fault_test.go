//go:build linux

package serve

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/connect"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/takeover"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/tooltest"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
)

// successor is a process that takes over, as far as a test wants.
type successor struct {
	t   *testing.T
	log *tooltest.Log // of the gateway
	*takeover.Channel
	files []int
}

// dialed connects a successor to a gateway.
func (r *running) dialed(t *testing.T) *successor {
	t.Helper()
	c, err := takeover.Dial(r.flags.Takeover)
	if err != nil {
		t.Fatal(err)
	}
	s := &successor{t: t, log: r.log, Channel: c}
	t.Cleanup(s.end)
	return s
}

// hello sends the first message.
func (s *successor) hello(r *running, change func(*takeover.Message)) {
	s.t.Helper()
	m := takeover.Message{Kind: takeover.Hello, Version: takeover.Version, Server: connect.Place(&r.options), Max: 8}
	if change != nil {
		change(&m)
	}
	s.send(m)
}

func (s *successor) send(m takeover.Message) {
	s.t.Helper()
	if err := s.Send(m); err != nil {
		s.t.Fatal(err)
	}
}

// until receives messages until one of a kind.
func (s *successor) until(kind takeover.Kind) takeover.Message {
	s.t.Helper()
	for {
		m, files, err := s.Receive(tooltest.Patience)
		if err != nil {
			s.t.Fatalf("%v: want %v\n%s", err, kind, s.log)
		}
		s.files = append(s.files, files...)
		if m.Kind == kind {
			return m
		}
	}
}

// ready sends Ready, and receives messages until one of a kind.
func (s *successor) ready(until takeover.Kind) takeover.Message {
	s.t.Helper()
	s.send(takeover.Message{Kind: takeover.Ready})
	return s.until(until)
}

// takeOver exchanges all messages until one of a kind.
func (s *successor) takeOver(r *running, until takeover.Kind) takeover.Message {
	s.t.Helper()
	s.hello(r, nil)
	s.until(takeover.Offer)
	return s.ready(until)
}

// drainsSoon makes the drain of a gateway short.
func drainsSoon(f *Flags) {
	drain := 300 * time.Millisecond
	f.Drain = &drain
}

// end ends the successor as a process ends: with all its descriptors.
func (s *successor) end() {
	s.Close()
	for _, fd := range s.files {
		takeover.CloseFile(fd)
	}
	s.files = nil
}

// A process that must not take over receives the reason, and the gateway continues.
func TestATakeoverIsRefused(t *testing.T) {
	u := startUpgrades(t, 4)
	r, client := u.running, u.dial()
	for why, change := range map[string]func(*takeover.Message){
		"has version 1 of the takeover, and this program has 2": func(m *takeover.Message) { m.Version = 2 },
		"and this one for other:1: restart instead":             func(m *takeover.Message) { m.Server = "other:1" },
	} {
		s := r.dialed(t)
		s.hello(r, change)
		if m := s.until(takeover.Refusal); !strings.Contains(m.Text, why) {
			t.Errorf("%q: want %q", m.Text, why)
		}
	}
	s := r.dialed(t)
	s.send(takeover.Message{Kind: takeover.Ready})
	if _, _, err := s.Receive(tooltest.Patience); !errors.Is(err, io.EOF) {
		t.Errorf("without Hello: %v: want the end", err)
	}
	client.Do("+OK", "RESPOOL", "PAUSE", "600")
	s = r.dialed(t)
	s.hello(r, nil)
	if m := s.until(takeover.Refusal); !strings.Contains(m.Text, "is paused") {
		t.Errorf("%q", m.Text)
	}
	client.Do("+OK", "RESPOOL", "RESUME")
	client.Do("+OK", "SET", "k", "v")
}

// If the new process ends, at whatever step, the gateway goes on: it accepts clients and serves those that have not moved. It has all
// its connections again.
func TestTheEndOfTheNewProcess(t *testing.T) {
	u := startUpgrades(t, 4)
	r, client := u.running, u.dial()
	client.Do("+OK", "SET", "k", "v")
	for step, last := range map[string]takeover.Kind{"hello": takeover.Offer, "offer": takeover.Offer, "go": takeover.Go, "move": takeover.Move} {
		s := r.dialed(t)
		if step != "hello" {
			s.hello(r, nil)
			s.until(takeover.Offer)
			if last != takeover.Offer {
				s.ready(last)
			}
		}
		s.end()
		client.Do("v", "GET", "k")
		u.dial().Do("+PONG", "PING")
		testkit.Eventually(t, "it has all its places", func() bool { return r.client.Engine().Stats().Nodes[0].Max == 4 })
	}
	r.page(t, "/readyz", 200)
	u.succeed(u.next())
	client.Do("v", "GET", "k")
}

// A process that does not react delays the clients that it was passed, and no others; after the drain the gateway ends.
func TestAProcessThatStallsGetsTheClients(t *testing.T) {
	u := startUpgrades(t, 4, drainsSoon)
	r, client, stuck := u.running, u.dial(), u.dial()
	client.Do("+PONG", "PING")
	stuck.Do("+OK", "MULTI")
	s := r.dialed(t)
	m := s.takeOver(r, takeover.Move)
	if m.Client.Session.ID == 0 || len(s.files) != 4 { // a listener, the pages, the endpoint and a client
		t.Errorf("%+v with %d descriptors", m.Client, len(s.files))
	}
	stuck.Do("+QUEUED", "PING")
	if err := r.ended(); err != nil {
		t.Error(err)
	}
	if _, err := stuck.Reader.ReadByte(); err == nil {
		t.Error("the client in a transaction was not disconnected")
	}
	s.end()
	if _, err := client.Reader.ReadByte(); !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
		t.Errorf("%v: want the end of the connection with that of the process", err)
	}
	u.server.WaitClients(t, 0, tooltest.Patience)
}

// A second process waits while the first one takes over.
func TestASecondTakeoverWaits(t *testing.T) {
	u := startUpgrades(t, 4)
	client := u.dial()
	client.Do("+OK", "MULTI") // holds up the first takeover
	second := u.next()
	third := second.dialed(t)
	third.hello(second, nil)
	third.until(takeover.Wait)
	client.Do("*0", "EXEC")
	u.succeed(second)
	third.until(takeover.Offer)
	third.end()
	client.Do("+PONG", "PING")
}

// The end of the offers leaves the process alone that Run has accepted.
func TestTheEndOfTheOffersKeepsTheAcceptedProcess(t *testing.T) {
	for range 100 {
		srv := New(Flags{}, slog.New(slog.DiscardHandler), io.Discard, nil)
		srv.settings.Takeover = filepath.Join(tooltest.ShortDir(t), "takeover")
		if err := srv.offer(); err != nil {
			t.Fatal(err)
		}
		c, err := takeover.Dial(srv.settings.Takeover)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Send(takeover.Message{Kind: takeover.Hello, Version: takeover.Version}); err != nil {
			t.Fatal(err)
		}
		with := <-srv.requests
		srv.offers.close()
		if err := with.channel.Send(takeover.Message{Kind: takeover.Done}); err != nil {
			t.Fatal(err)
		}
		c.Close()
		with.channel.Close()
	}
}
