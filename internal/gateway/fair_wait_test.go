package gateway_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/gateway"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/clustertest"
)

// What a client sends during an outage is not all in flight at once after it.
func TestQueuedCommandsTakeTurns(t *testing.T) {
	s := startSlowServer(t, gateway.Config{}, 1)
	const size, commands, most = 8000, 500, (16<<10 + 1<<20) / 8000
	s.Do("SET", "kib", strings.Repeat("y", size))
	reply := fmt.Sprintf("$%d\r\n", size) + strings.Repeat("y", size) + "\r\n"
	p := s.h.dial()
	for range 40 { // the gateway learns the size
		p.send("GET kib")
		p.exactly(reply)
	}
	before := s.executed("get")
	s.Delay(200*time.Millisecond, 0) // of the new connection too, so that commands queue
	s.CutAll()
	p.send(strings.Split(strings.Repeat("GET kib;", commands-1)+"GET kib", ";")...)
	testkit.Eventually(t, "the server executes commands", func() bool { return s.executed("get")-before > 2 })
	s.StallReplies()
	got := 0
	testkit.Eventually(t, "it executes no more", func() bool {
		last := got
		got = s.executed("get") - before
		return got == last
	})
	if got > most {
		t.Errorf("the server has executed %d GET: want %d at most", got, most)
	}
	s.Delay(0, 0)
	s.Relay.Resume()
	for range commands {
		p.exactly(reply)
	}
}

// Clients whose command waits for a connection to the server, or for the reply before it, keep their turn. Otherwise all such
// commands would be in flight at once afterwards.
func TestCommandsThatWaitKeepTheirTurn(t *testing.T) {
	for name, commands := range map[string][]string{
		"command":     {"GET big"},
		"transaction": {"MULTI", "GET big", "EXEC"},
		"barrier":     {"GET small", "MULTI", "CLIENT ID", "GET big", "EXEC"}, // EXEC waits for the reply to GET
	} {
		t.Run(name, func(t *testing.T) {
			s := startSlowServer(t, gateway.Config{}, 1)
			holder, console := s.h.dial(), s.h.dial()
			const clients, most = 15, 3
			peers := make([]*peer, clients)
			for i := range peers {
				peers[i] = s.h.dial()
				peers[i].send(slices.Repeat([]string{"GET small"}, 40)...) // it may send pipelines
				for range 40 {
					peers[i].want("$3|abc|")
				}
				peers[i].send("GET big") // its size is known
				peers[i].wantBig(1)
			}
			began, idle := time.Now(), 1 // the client of startSlowServer
			if name == "barrier" {
				s.StallReplies()
				idle++ // the holder
			} else {
				holder.ask("WATCH small") // on the only connection
			}
			for _, p := range peers {
				p.send(commands...)
			}
			var waiting int
			testkit.Eventually(t, "all commands are with the gateway", func() bool {
				list := console.ask("RESPOOL CLIENTS")
				waiting = strings.Count(list, "state=turn") + strings.Count(list, ",turn")
				return strings.Count(list, "state=idle") == idle
			})
			if got, most := clients-waiting, most*turnsWithoutReplies(began); got > most {
				t.Errorf("%d of %d clients have their turn: want %d at most", got, clients, most)
			}
			if name == "barrier" {
				s.Relay.Resume()
			} else {
				holder.ask("UNWATCH")
			}
			var wg sync.WaitGroup
			for _, p := range peers {
				wg.Go(func() {
					switch name {
					case "transaction":
						p.exactly("+OK\r\n+QUEUED\r\n*1\r\n")
					case "barrier":
						p.exactly("$3\r\nabc\r\n+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n")
						p.frame() // the number of the client
					}
					p.wantBig(1)
				})
			}
			wg.Wait()
		})
	}
}

// Clients whose requests wait for something other than a connection keep no turn, so they delay no others.
func TestHeldRequestsKeepNoTurn(t *testing.T) {
	const clients = 60
	check := func(t *testing.T, h *testGateway, send func(i int, p *peer)) {
		t.Helper()
		console := h.dial()
		before := h.Stats().TurnWaits
		for i := range clients {
			send(i, h.dial())
		}
		testkit.Eventually(t, "all requests are held", func() bool {
			list := console.ask("RESPOOL CLIENTS")
			return strings.Count(list, "state=paused")+strings.Count(list, "state=waiting")+strings.Count(list, "state=busy") > clients
		})
		if got := h.Stats().TurnWaits - before; got > 0 {
			t.Errorf("%d clients have waited for their turn", got)
		}
	}
	t.Run("pause", func(t *testing.T) {
		s := startSlowServer(t, gateway.Config{Admin: true}, 2)
		operator := s.h.dial()
		if got := operator.ask("CLIENT PAUSE 600000 WRITE"); got != "+OK|" {
			t.Fatal(got)
		}
		check(t, s.h, func(i int, p *peer) { p.send(fmt.Sprintf("SET key:%d v", i)) })
		operator.ask("CLIENT UNPAUSE")
	})
	t.Run("node", func(t *testing.T) {
		c := clustertest.Start(t, clustertest.Config{Replicas: -1, NodeTimeout: time.Minute, Relays: true})
		h := open(t, c.URL("max_connections=4"), gateway.Config{})
		dead := c.Primaries()[0]
		tag, n := "", 0
		for ; tag == "" || c.OwnerOf(tag) != dead; n++ {
			tag = fmt.Sprintf("{t%d}", n)
		}
		h.dial().ask("SET " + tag + " v")
		dead.Relay.Blackhole(true)
		dead.Relay.CutAll()
		testkit.Eventually(t, "the connection to the node is gone", func() bool {
			return !slices.ContainsFunc(h.client.Stats().Nodes, func(n respool.Stats) bool { return n.Addr == dead.Relay.Addr() && n.Lanes > 0 })
		})
		check(t, h, func(i int, p *peer) { p.send(fmt.Sprintf("SET %s%d v", tag, i)) })
	})
}

// The client that holds the only connection does not wait for those that wait for it.
func TestTheHolderOfTheConnectionNeedsNoTurn(t *testing.T) {
	s := startSlowServer(t, gateway.Config{}, 1)
	holder, console := s.h.dial(), s.h.dial()
	const clients = 12
	peers := make([]*peer, clients)
	for i := range peers {
		peers[i] = s.h.dial()
		peers[i].ask("GET small")
		peers[i].send("GET big")
		peers[i].wantBig(1)
	}
	holder.send("WATCH small", "GET big")
	holder.want("+OK|")
	holder.wantBig(1)
	for _, p := range peers {
		p.send("GET big")
	}
	s.awaitTurns(t, console, clients/4)
	before := s.h.Stats().TurnWaits
	holder.send("GET big")
	holder.wantBig(1)
	if got := s.h.Stats().TurnWaits - before; got > 0 {
		t.Error("the holder has waited for its turn")
	}
	holder.ask("UNWATCH")
	for _, p := range peers {
		p.wantBig(1)
	}
}
