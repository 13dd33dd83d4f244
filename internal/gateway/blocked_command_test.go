package gateway_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/gateway"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/faultnet"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// awaitBlocked waits until n clients are blocked.
func (h *testGateway) awaitBlocked(n int) {
	h.t.Helper()
	testkit.Await(h.t, fmt.Sprintf("%d clients are blocked", n), h.Stats, func(s gateway.Stats) bool { return s.Blocked == n })
}

// awaitWaits waits until n commands wait in the engine.
func (h *testGateway) awaitWaits(n int) {
	h.t.Helper()
	testkit.Await(h.t, fmt.Sprintf("%d commands wait", n), h.client.Stats, func(s respool.Stats) bool { return s.Blocking.Waiting == n })
}

// awaitWatched waits until the key of a BLPOP is watched, and no attempt is in flight: the second one follows the first
// when the key is watched.
func (h *testGateway) awaitWatched() {
	h.t.Helper()
	testkit.Eventually(h.t, "the key is watched", func() bool {
		st := h.client.Engine().Stats().Blocking.Waits
		return st.InFlight == 0 && st.Commands["BLPOP"].Tries >= 2
	})
}

// wantNoPins checks that no client holds a connection.
func (h *testGateway) wantNoPins() {
	h.t.Helper()
	if g, c := h.Stats(), h.client.Stats(); g.Pinned > 0 || len(g.PinnedBy) > 0 || c.Dedicated > 0 {
		h.t.Errorf("clients hold connections: %v, %v", g.PinnedBy, c)
	}
}

// The memory of a blocked client is counted without that of an idle one. Most clients are in memory, because 10,000 sockets and
// their peers exceed the usual limit of open files.
func TestTenThousandBlockedClientsShareFiveConnections(t *testing.T) {
	const clients, sockets, most = 10_000, 2_000, 5
	s := redistest.Start(t, redistest.Config{})
	h := open(t, fmt.Sprintf("%s?max_connections=%d", s.URL(), most), gateway.Config{})
	peers := make([]*peer, clients)
	for i := range peers {
		var conn net.Conn
		var err error
		if i < sockets {
			conn, err = net.DialTimeout("tcp", h.addr, patience)
		} else {
			conn, err = h.DialContext(context.Background())
		}
		if err != nil {
			t.Fatal(err)
		}
		peers[i] = newPeer(t, conn)
		if hello := peers[i].ask(fmt.Sprintf("HELLO %d", 2+i%2)); hello[0] == '-' {
			t.Fatal(hello)
		}
	}
	var before, after runtime.MemStats
	heap := func(m *runtime.MemStats) {
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(m)
	}
	heap(&before)
	goroutines := runtime.NumGoroutine()
	order := []int{}
	for i := range sockets { // alternate the kinds of clients
		for j := i; j < clients; j += sockets {
			order = append(order, j)
		}
	}
	for n, i := range order {
		peers[i].send("BLPOP queue 0")
		testkit.Promptly(t, "the clients wait in order", func() bool { return h.client.Stats().Blocking.Waiting > n })
	}
	h.awaitBlocked(clients)
	heap(&after)
	if more := runtime.NumGoroutine() - goroutines; more > 20 {
		t.Errorf("%d goroutines more run", more)
	}
	perClient := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) / clients
	t.Logf("a blocked client takes %d bytes", perClient)
	if perClient > 1200 {
		t.Errorf("a blocked client takes %d bytes: want 1,200 at most", perClient)
	}
	h.wantNoPins()
	if list := s.Do("CLIENT", "LIST"); strings.Count(list, "id=") > most+1 { // with the connection of the test
		t.Errorf("the server has these clients:\n%s", list)
	}
	for at := 0; at < clients; at += 1000 {
		push := []string{"RPUSH", "queue"}
		for i := at; i < at+1000; i++ {
			push = append(push, strconv.Itoa(i))
		}
		s.Do(push...)
	}
	for n, i := range order {
		peers[i].want("*2|" + bulk("queue") + bulk(strconv.Itoa(n)))
	}
	if left := s.Do("LLEN", "queue"); left != "0" {
		t.Errorf("%s elements are left", left)
	}
	h.awaitBlocked(0)
}

func TestCommandsBehindABlockingCommandWait(t *testing.T) {
	onEachBlocking(t, gateway.Config{}, func(t *testing.T, h *testGateway, dial func() *peer) {
		for _, proto := range []int{2, 3} {
			p, q := dial(), dial()
			p.ask(fmt.Sprintf("HELLO %d", proto))
			p.send("SET a 1", "BLPOP q 0", "GET a", "BLPOP q 0", "PING", "MULTI", "BLPOP q 0", "EXEC", "BLPOP q 0.01", "ECHO last")
			p.want("+OK|")
			h.awaitBlocked(1)
			q.send("SET a 2", "RPUSH q one")
			q.want("+OK|", ":1|")
			p.want("*2|"+bulk("q")+bulk("one"), bulk("2"))
			h.awaitBlocked(1)
			q.send("RPUSH q two")
			q.want(":1|")
			p.want("*2|"+bulk("q")+bulk("two"), "+PONG|", "+OK|", "+QUEUED|", "*1|"+nullArray(proto), nullArray(proto), bulk("last"))
		}
	})
}

func TestCommandsOfManyKindsWaitWithoutConnections(t *testing.T) {
	onEach(t, gateway.Config{}, func(t *testing.T, h *testGateway, dial func() *peer) {
		for _, proto := range []int{2, 3} {
			score := map[int]string{2: bulk("1"), 3: ",1|"}[proto]
			q := dial()
			q.ask("DEL l other z x")
			q.ask("XGROUP CREATE x g $ MKSTREAM")
			entry := "*2|" + bulk("1-1") + "*2|" + bulk("f") + bulk("v")
			entries := map[int]string{2: "*1|*2|" + bulk("x") + "*1|" + entry, 3: "%1|" + bulk("x") + "*1|" + entry}[proto]
			for _, c := range []struct{ block, feed, reply string }{
				{"BRPOP none l 0", "RPUSH l a", "*2|" + bulk("l") + bulk("a")},
				{"BLMOVE l other LEFT RIGHT 0", "RPUSH l a", bulk("a")},
				{"BZPOPMIN z 0", "ZADD z 1 m", "*3|" + bulk("z") + bulk("m") + score},
				{"XREAD BLOCK 0 STREAMS x $", "XADD x 1-1 f v", entries},
				{"XREADGROUP GROUP g me BLOCK 0 STREAMS x >", "PING", entries},
			} {
				p := dial()
				p.ask(fmt.Sprintf("HELLO %d", proto))
				p.send(c.block)
				if c.feed != "PING" {
					h.awaitBlocked(1)
				}
				h.wantNoPins()
				q.ask(c.feed)
				p.want(c.reply)
			}
		}
	})
}

func TestASilencedBlockingCommandTakesItsElement(t *testing.T) {
	onEachBlocking(t, gateway.Config{}, func(t *testing.T, h *testGateway, dial func() *peer) {
		p, q := dial(), dial()
		p.send("CLIENT REPLY SKIP", "BLPOP q 0", "ECHO a", "CLIENT REPLY OFF", "BLPOP q 0", "CLIENT REPLY ON")
		h.awaitBlocked(1)
		q.ask("RPUSH q one")
		p.want(bulk("a"))
		h.awaitBlocked(1)
		q.ask("RPUSH q two")
		p.want("+OK|")
		if got := q.ask("LLEN q"); got != ":0|" {
			t.Errorf("LLEN gives %s", got)
		}
	})
}

func TestUnblockEndsAWait(t *testing.T) {
	onEach(t, gateway.Config{}, func(t *testing.T, h *testGateway, dial func() *peer) {
		for _, proto := range []int{2, 3} {
			p, q := dial(), dial()
			p.ask(fmt.Sprintf("HELLO %d", proto))
			id := strings.Trim(p.ask("CLIENT ID"), ":|")
			if got := q.ask("CLIENT UNBLOCK " + id); got != ":0|" {
				t.Errorf("a client that does not wait: %s", got)
			}
			for how, reply := range map[string]string{
				"": nullArray(proto), " TIMEOUT": nullArray(proto), " ERROR": "-UNBLOCKED client unblocked via CLIENT UNBLOCK|",
			} {
				p.send("BLPOP q 0", "PING")
				h.awaitBlocked(1)
				list := q.ask("CLIENT LIST ID " + id)
				if !strings.Contains(list, " flags=b ") || !strings.Contains(list, " cmd=blpop ") {
					t.Error(list)
				}
				if got := q.ask("RESPOOL CLIENTS"); !strings.Contains(got, "state=blocked,busy|") {
					t.Error(got)
				}
				if got := q.ask("CLIENT UNBLOCK " + id + how); got != ":1|" {
					t.Errorf("UNBLOCK%s gives %s", how, got)
				}
				p.want(reply, "+PONG|")
				if got := q.ask("CLIENT UNBLOCK " + id); got != ":0|" {
					t.Errorf("a client that waits no longer: %s", got)
				}
			}
		}
	})
}

// The elements of a client that leaves go to the next in line.
func TestAClientThatLeavesItsWaitTakesNoElement(t *testing.T) {
	onEach(t, gateway.Config{}, func(t *testing.T, h *testGateway, dial func() *peer) {
		q := dial()
		for name, leave := range map[string]func(p *peer, id string){
			"FIN": func(p *peer, _ string) { p.Close() },
			"RST": func(p *peer, _ string) {
				if c, ok := p.Conn.(interface{ SetLinger(int) error }); ok {
					_ = c.SetLinger(0)
				}
				p.Close()
			},
			"KILL": func(p *peer, id string) {
				if got := q.ask("CLIENT KILL ID " + id); got != ":1|" {
					t.Error(got)
				}
			},
		} {
			first, second := dial(), dial()
			id := strings.Trim(first.ask("CLIENT ID"), ":|")
			first.send("BLPOP q 0", "RPUSH q late")
			h.awaitBlocked(1)
			second.send("BLPOP q 0")
			h.awaitBlocked(2)
			leave(first, id)
			if name != "KILL" { // which leaves no moment between
				h.awaitBlocked(1)
			}
			q.send("RPUSH q a b")
			q.want(":2|")
			second.want("*2|" + bulk("q") + bulk("a"))
			h.awaitBlocked(0)
			if got := q.ask("LPOP q"); got != bulk("b") {
				t.Errorf("%s: %s is left", name, got)
			}
			if got := q.ask("LLEN q"); got != ":0|" {
				t.Errorf("%s: %s are left", name, got)
			}
			second.Close()
		}
	})
}

// A client that is killed while its command moves to a dedicated connection holds no connection and takes no element.
func TestAClientKilledWhileItsWaitMoves(t *testing.T) {
	s := redistest.Start(t, redistest.Config{TLS: true})
	onEachBefore(t, s, s.PlainAddr(), gateway.Config{}, func(t *testing.T, h *testGateway, dial func() *peer) {
		p := dial()
		p.send("BLPOP q 0")
		h.awaitWatched()
		s.Do("ACL", "SETUSER", "default", "-lpop")
		defer s.Do("ACL", "SETUSER", "default", "+lpop")
		h.KillAtTheEndOfItsWait(t, func() {
			s.Do("EVAL", "redis.call('RPUSH', KEYS[1], 'x') redis.call('DEL', KEYS[1])", "1", "q")
		})
		p.ends()
		testkit.Await(t, "the clients", h.Stats, func(st gateway.Stats) bool { return st.Clients == 0 })
		testkit.Await(t, "the number of dedicated connections", func() int { return h.client.Stats().Dedicated }, testkit.Is(0))
		s.Do("RPUSH", "q", "x")
		if got := s.Do("LLEN", "q"); got != "1" {
			t.Errorf("the list has %s elements", got)
		}
	})
}

// A pause holds back commands that arrive. Those that wait already may get elements that others push.
func TestAPauseDoesNotHoldWaits(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	h := open(t, s.URL()+"?max_connections=4", gateway.Config{Admin: true})
	early, late, operator := h.dial(), h.dial(), h.dial()
	early.send("BLPOP q 0")
	h.awaitBlocked(1)
	h.awaitWaits(1)
	operator.send("CLIENT PAUSE 600000")
	operator.want("+OK|")
	late.send("BLPOP q 0", "PING")
	testkit.Eventually(t, "one client is held", func() bool { return held(operator) == 1 })
	s.Do("RPUSH", "q", "one", "two")
	early.want("*2|" + bulk("q") + bulk("one"))
	if left := s.Do("LLEN", "q"); left != "1" {
		t.Errorf("%s elements are left", left)
	}
	s.Do("DEL", "q")
	operator.send("CLIENT UNPAUSE")
	operator.want("+OK|")
	h.awaitBlocked(1)
	h.awaitWaits(1)
	h.wantNoPins()
	s.Do("RPUSH", "q", "three")
	late.want("*2|"+bulk("q")+bulk("three"), "+PONG|")
}

func TestTooManyBlockedClientsGetAnError(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	h := open(t, s.URL()+"?max_blocked=1", gateway.Config{})
	p, q := h.dial(), h.dial()
	p.send("BLPOP a 0")
	h.awaitBlocked(1)
	q.send("BLPOP b 0", "PING")
	q.want("-ERR respool: max_blocked blocking commands wait already: raise MaxBlocked, or block in fewer callers|", "+PONG|")
	s.Do("RPUSH", "a", "1")
	p.want("*2|" + bulk("a") + bulk("1"))
	q.send("BLPOP b 0.01")
	q.want("*-1|")
}

// The engine cannot wait for a user who may not run LPOP, nor on a server that does not report changes of keys.
func TestBlockingCommandsUseConnectionsIfTheEngineCannotWait(t *testing.T) {
	for name, rules := range map[string]string{"no LPOP": "-lpop", "no tracking": "-client|tracking"} {
		t.Run(name, func(t *testing.T) {
			s := redistest.Start(t, redistest.Config{Users: []string{"user alice on >alice ~* &* +@all " + rules}})
			h := open(t, "redis://alice:alice@"+s.PlainAddr()+"?max_connections=4", gateway.Config{})
			for _, timeout := range []string{"0", "100"} {
				p := h.dial()
				p.send("BLPOP q "+timeout, "PING")
				testkit.Await(t, "it holds a connection", h.Stats, func(s gateway.Stats) bool { return s.Blocked == 1 && s.PinnedBy["blocking"] == 1 })
				testkit.Eventually(t, "the server blocks it", func() bool { return s.Info("clients")["blocked_clients"] == "1" })
				s.Do("RPUSH", "q", "1")
				p.want("*2|"+bulk("q")+bulk("1"), "+PONG|")
			}
			p := h.dial()
			p.send("BLPOP q 0.02", "PING")
			p.want("*-1|", "+PONG|")
			gone := h.dial()
			gone.send("BLPOP q 0")
			h.awaitBlocked(1)
			gone.Close()
			h.awaitBlocked(0)
		})
	}
}

func TestAnOutageDoesNotEndWaits(t *testing.T) {
	s := redistest.Start(t, redistest.Config{TLS: true})
	relay := faultnet.Start(t, s.PlainAddr())
	onEachBefore(t, s, relay.Addr(), gateway.Config{}, func(t *testing.T, h *testGateway, dial func() *peer) {
		p := dial()
		p.send("BLPOP q 0", "PING")
		h.awaitWatched() // the cut would make the outcome of an attempt unknown
		begin(relay)
		s.Do("RPUSH", "q", "a")
		relay.Refuse(false)
		p.want("*2|"+bulk("q")+bulk("a"), "+PONG|")
	})
}

// The idle timeout is for clients that send nothing and wait for nothing.
func TestTheIdleTimeoutSparesBlockedClients(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	h := open(t, s.URL(), gateway.Config{IdleTimeout: time.Millisecond})
	p, idle := h.dial(), h.dial()
	p.send("BLPOP q 0")
	h.awaitBlocked(1)
	for range 3 {
		idle.ends()
		idle = h.dial()
	}
	s.Do("RPUSH", "q", "a")
	p.want("*2|" + bulk("q") + bulk("a"))
}

// Clients are killed, unblocked, and end their input while elements come. Every element reaches a client or stays.
func TestNoElementIsLostWhileBlockedClientsLeave(t *testing.T) {
	const workers, elements = 16, 3000
	s := redistest.Start(t, redistest.Config{})
	h := open(t, s.URL()+"?max_connections=4", gateway.Config{})
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	var received [elements]atomic.Int32
	var stop atomic.Bool
	var wg sync.WaitGroup
	var ids [workers]atomic.Int64
	for i := range workers {
		wg.Go(func() {
			for !stop.Load() {
				p := h.dial()
				p.send("CLIENT ID")
				id, err := p.tryFrame()
				for err == nil {
					n, _ := strconv.ParseInt(strings.Trim(id, ":\r\n"), 10, 64)
					ids[i].Store(n)
					if _, err = io.WriteString(p.Conn, "BLPOP q 0.3\r\n"); err != nil {
						break
					}
					var text string
					if text, err = p.tryFrame(); err != nil {
						break
					}
					if lines := strings.Split(text, "\r\n"); lines[0] == "*2" {
						n, _ := strconv.Atoi(lines[4])
						received[n].Add(1)
					}
					if stop.Load() {
						break
					}
				}
				p.Close()
			}
		})
	}
	r := rand.New(rand.NewPCG(seed, 1))
	operator := h.dial()
	for i := 0; i < elements; {
		push := []string{"RPUSH", "q"}
		for range min(1+r.IntN(8), elements-i) {
			push = append(push, strconv.Itoa(i))
			i++
		}
		victim := ids[r.IntN(workers)].Load()
		operator.send(strings.Join(push, " "), fmt.Sprintf("CLIENT %s %d", []string{"UNBLOCK", "KILL ID"}[r.IntN(2)], victim))
		operator.frame()
		operator.frame()
	}
	stop.Store(true)
	wg.Wait()
	testkit.Eventually(t, "elements of clients that left are back", func() bool {
		st := h.client.Engine().Stats().Blocking.Waits
		return st.Waiting+st.InFlight == 0
	})
	for left := s.Do("LPOP", "q"); left != ""; left = s.Do("LPOP", "q") {
		n, _ := strconv.Atoi(left)
		received[n].Add(1)
	}
	for i := range received {
		if n := received[i].Load(); n != 1 {
			t.Errorf("element %d came %d times", i, n)
		}
	}
}
