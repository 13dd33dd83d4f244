package gateway_test

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/gateway"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/faultnet"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

const mebibyte = 1 << 20

// slowServer is a server with a large value, whose replies the test may hold back.
type slowServer struct {
	*redistest.Server
	*faultnet.Relay
	h *testGateway
}

func startSlowServer(t *testing.T, cfg gateway.Config, connections int) *slowServer {
	s := redistest.Start(t, redistest.Config{})
	for _, key := range []string{"big", "big2", "big3"} {
		s.Do("SET", key, strings.Repeat("x", mebibyte))
	}
	s.Do("SET", "small", "abc")
	s.Do("RPUSH", "list", strings.Repeat("a", mebibyte/2), strings.Repeat("b", mebibyte/2))
	relay := faultnet.Start(t, s.PlainAddr())
	url := fmt.Sprintf("redis://%s?max_connections=%d&protocol=2", relay.Addr(), connections)
	h := open(t, url, cfg)
	h.dial().ask("GET small") // opens a connection to the server
	return &slowServer{s, relay, h}
}

// executed returns how often the server has executed a command.
func (s *slowServer) executed(command string) (calls int) {
	_, _ = fmt.Sscanf(s.Info("commandstats")["cmdstat_"+command], "calls=%d", &calls)
	return calls
}

// awaitTurns waits until some clients wait for their turn.
func (s *slowServer) awaitTurns(t *testing.T, from *peer, clients int) {
	t.Helper()

	testkit.Eventually(t, fmt.Sprintf("%d clients wait for their turn", clients), func() bool {
		return strings.Count(from.ask("RESPOOL CLIENTS"), "state=turn") >= clients
	})
}

// turnsWithoutReplies returns how many times as much as at first may be in flight since the server replied last.
func turnsWithoutReplies(began time.Time) int {
	const leastTurn = 200 * time.Millisecond
	return 1 << min(time.Since(began)/leastTurn, 20)
}

const bigReply = "$1048576\r\n"

func (p *peer) wantBig(n int) {
	p.t.Helper()
	body := bigReply + strings.Repeat("x", mebibyte) + "\r\n"
	for range n {
		p.exactly(body)
	}
}

// The server gets only a few requests for large replies at a time, whatever many clients ask for in their pipelines. So a
// small command never waits for more than a few large replies.
func TestLargeRepliesTakeTurns(t *testing.T) {
	for _, connections := range []int{1, 8} {
		for _, earlier := range []string{"none", "GET big by another client", "GET small", "PING"} {
			t.Run(fmt.Sprintf("connections=%d/earlier=%s", connections, earlier), func(t *testing.T) {
				s := startSlowServer(t, gateway.Config{}, connections)
				console := s.h.dial()
				const clients, commands = 24, 3
				peers := make([]*peer, clients)
				for i := range peers {
					peers[i] = s.h.dial()
				}
				want := 5 // first requests of new clients, and of pipelines of clients that have sent none
				switch earlier {
				case "GET big by another client":
					other := s.h.dial()
					for range 2 {
						other.send("GET big")
						other.wantBig(1)
					}
					want = 3
				case "GET small", "PING":
					for _, p := range peers {
						for range 20 {
							p.ask(earlier)
						}
					}
				}
				before := s.executed("get")
				began := time.Now()
				s.StallReplies()
				for _, p := range peers {
					p.send(strings.Split(strings.Repeat("GET big;", commands-1)+"GET small", ";")...)
				}
				s.awaitTurns(t, console, clients/4)
				got := s.executed("get") - before
				if most := want * turnsWithoutReplies(began); got > most {
					t.Errorf("the server has executed %d GET for 1 MiB: want %d at most", got, most)
				}
				s.Relay.Resume()
				var wg sync.WaitGroup
				for _, p := range peers {
					wg.Go(func() {
						p.wantBig(commands - 1)
						p.want("$3|abc|")
					})
				}
				wg.Wait()
				if got := s.executed("get") - before; got != clients*commands {
					t.Errorf("the server has executed %d GET: want %d", got, clients*commands)
				}
			})
		}
	}
}

// A large reply that has begun and does not end delays no small command, if the gateway may have another connection.
func TestALargeReplyHasAConnectionApart(t *testing.T) {
	for _, loops := range []int{1, 2} {
		t.Run(fmt.Sprint(loops), func(t *testing.T) {
			s := startSlowServer(t, gateway.Config{Loops: loops}, 8)
			p := s.h.dial()
			small := make([]*peer, 2*loops)
			for i := range small {
				small[i] = s.h.dial()
				small[i].ask("GET small")
			}
			testkit.Eventually(t, "there is a connection for large replies", func() bool {
				p.send("GET big")
				p.wantBig(1)
				for _, q := range small {
					q.ask("GET small")
				}
				return s.h.client.Stats().Lanes > loops
			})
			s.StallAfter(somePart)
			p.send("GET big")
			p.exactly(bigReply + strings.Repeat("x", somePart/2))
			for _, q := range small {
				if got := q.ask("GET small"); got != "$3|abc|" {
					t.Fatalf("GET small returned %s", got)
				}
			}
			s.Relay.Resume()
			p.exactly(strings.Repeat("x", mebibyte-somePart/2) + "\r\n")
		})
	}
}

// All clients together may have only so many small commands in flight, and each client always some.
func TestLongPipelinesTakeTurns(t *testing.T) {
	s := startSlowServer(t, gateway.Config{}, 1)
	const clients, commands, most = 20, 1000, 20*128 + 8192 // as each counts 128 bytes
	peers := make([]*peer, clients)
	for i := range peers {
		peers[i] = s.h.dial()
		peers[i].send(strings.Split(strings.Repeat("GET small;", 1499)+"GET small", ";")...) // the gateway learns that the replies are small
		for range 1500 {
			peers[i].want("$3|abc|")
		}
	}
	console := s.h.dial()
	before := s.executed("get")
	began := time.Now()
	s.StallReplies()
	for _, p := range peers {
		p.send(strings.Split(strings.Repeat("GET small;", commands-1)+"GET small", ";")...)
	}
	s.awaitTurns(t, console, clients/4)
	if got := s.executed("get") - before; got > most*turnsWithoutReplies(began) {
		t.Errorf("the server has executed %d GET: want %d at most", got, most)
	}
	s.Relay.Resume()
	for _, p := range peers {
		for range commands {
			p.want("$3|abc|")
		}
	}
	if waits := s.h.Stats().TurnWaits; waits < clients/4 {
		t.Errorf("%d requests have waited for a turn: want %d at least", waits, clients/4)
	}
}

// A transaction counts as all its commands and their replies.
func TestTransactionsTakeTurns(t *testing.T) {
	s := startSlowServer(t, gateway.Config{}, 2)
	other, console := s.h.dial(), s.h.dial()
	other.send("GET big") // now its size is known
	other.wantBig(1)
	const clients, each = 10, 5
	peers := make([]*peer, clients)
	for i := range peers {
		peers[i] = s.h.dial()
		peers[i].ask("GET small")
	}
	before := s.executed("get")
	began := time.Now()
	s.StallReplies()
	for _, p := range peers {
		p.send(strings.Split("MULTI;"+strings.Repeat("GET big;", each)+"EXEC", ";")...)
	}
	s.awaitTurns(t, console, clients/4)
	if got := s.executed("get") - before; got > each*turnsWithoutReplies(began) {
		t.Errorf("the server has executed %d GET for 1 MiB: want those of one transaction, %d, at most", got, each)
	}
	s.Relay.Resume()
	for _, p := range peers {
		p.exactly(crlf("+OK|" + strings.Repeat("+QUEUED|", each) + fmt.Sprintf("*%d|", each)))
		p.wantBig(each)
	}
}

// The transactions of new clients need no turn after small replies to the same commands in another transaction.
func TestNewClientsWithTransactions(t *testing.T) {
	s := startSlowServer(t, gateway.Config{}, 2)
	begin := func() *peer {
		p := s.h.dial()
		p.send("MULTI", "SET key v", "EXEC")
		return p
	}
	end := func(p *peer) {
		p.exactly(crlf("+OK|+QUEUED|*1|+OK|"))
		p.Close()
	}
	end(begin())
	before, waits := s.executed("exec"), s.h.Stats().TurnWaits
	s.StallReplies()
	peers := make([]*peer, 12)
	for i := range peers {
		peers[i] = begin()
	}
	testkit.Eventually(t, "the server has executed all transactions", func() bool { return s.executed("exec")-before == len(peers) })
	if got := s.h.Stats().TurnWaits - waits; got > 0 {
		t.Errorf("%d of %d new clients have waited", got, len(peers))
	}
	s.Relay.Resume()
	for _, p := range peers {
		end(p)
	}
}

// Clients leave in each state of their turn, and the others get all their replies. Afterwards nothing is lost of what
// clients may have in flight.
func TestClientsLeaveWhileTheyWaitForTheirTurn(t *testing.T) {
	s := startSlowServer(t, gateway.Config{}, 2)
	for round := range 3 {
		s.StallReplies()
		const clients, commands = 24, 12
		peers := make([]*peer, clients)
		for i := range peers {
			peers[i] = s.h.dial()
			peers[i].send(strings.Split(strings.Repeat("GET big;", commands-1)+"QUIT", ";")...)
		}
		if round == 0 {
			s.awaitTurns(t, s.h.dial(), clients/4)
		}
		for _, p := range peers[:clients/2] {
			p.Close()
		}
		s.Relay.Resume()
		var wg sync.WaitGroup
		for _, p := range peers[clients/2:] {
			wg.Go(func() {
				p.wantBig(commands - 1)
				p.want("+OK|")
				p.ends()
			})
		}
		wg.Wait()
	}
	testkit.Await(t, "all clients are gone", s.h.Stats, func(s gateway.Stats) bool { return s.Clients <= 2 })
	p := s.h.dial()
	p.send("GET big", "GET big", "GET small")
	p.wantBig(2)
	p.want("$3|abc|")
}

// Each kind of command keeps its place among large replies of a client that takes turns with many others.
func TestTurnsKeepTheOrderOfAllKindsOfCommands(t *testing.T) {
	// big and big2 get a connection apart, and big3 is only large. The list has two parts.
	values := map[string]string{
		"big": strings.Repeat("x", mebibyte), "big2": strings.Repeat("y", 300<<10), "big3": strings.Repeat("z", 100<<10), "small": "abc",
	}
	big, big2, big3 := bulk(values["big"]), bulk(values["big2"]), bulk(values["big3"])
	parts := []string{strings.Repeat("a", 150<<10), strings.Repeat("b", 150<<10)}
	list := "*2|" + bulk(parts[0]) + bulk(parts[1])
	kinds := []struct {
		lines []string
		want  string
	}{
		{[]string{"GET big"}, big},
		{[]string{"GET big2"}, big2},
		{[]string{"GET big3"}, big3},
		{[]string{"GET small"}, "$3|abc|"},
		{[]string{"PING"}, "+PONG|"},
		{[]string{"LRANGE list 0 -1"}, list},
		{[]string{"MGET big2 small"}, "*2|" + big2 + "$3|abc|"},
		{[]string{"EVAL return{redis.call('GET',KEYS[1])} 1 big3"}, "*1|" + big3},
		{[]string{"MULTI", "GET big2", "GET small", "EXEC"}, "+OK|+QUEUED|+QUEUED|*2|" + big2 + "$3|abc|"},
		{[]string{"WATCH small", "GET big2", "MULTI", "GET big3", "EXEC"}, "+OK|" + big2 + "+OK|+QUEUED|*1|" + big3},
		{[]string{"BLPOP none 0.01"}, "*-1|"},
		{[]string{"SELECT 1", "GET big", "SELECT 0"}, "+OK|$-1|+OK|"},
		{[]string{"SUBSCRIBE c", "UNSUBSCRIBE c"}, "*3|$9|subscribe|$1|c|:1|*3|$11|unsubscribe|$1|c|:0|"},
		{[]string{"CLIENT REPLY SKIP", "GET big"}, ""},
		{[]string{"NOSUCHCOMMAND"}, "-ERR unknown command 'NOSUCHCOMMAND', with args beginning with: |"},
	}
	s := redistest.Start(t, redistest.Config{TLS: true})
	onEachAt(t, s, "redis://"+s.PlainAddr()+"?max_connections=4", gateway.Config{}, func(t *testing.T, h *testGateway, dial func() *peer) {
		for key, value := range values {
			s.Do("SET", key, value)
		}
		s.Do("RPUSH", "list", parts[0], parts[1])
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		var wg sync.WaitGroup
		for n := range 12 {
			p := dial()
			wg.Go(func() {
				r := rand.New(rand.NewPCG(seed, uint64(n)))
				var lines []string
				var want strings.Builder
				for range 12 {
					k := kinds[r.IntN(len(kinds))]
					lines = append(lines, k.lines...)
					want.WriteString(k.want)
				}
				var sent sync.WaitGroup
				sent.Go(func() { p.send(lines...) })
				defer sent.Wait()
				p.exactly(crlf(want.String()))
			})
		}
		wg.Wait()
		if h.Stats().TurnWaits == 0 {
			t.Error("no client has waited for its turn")
		}
	})
}

// The time of a command in the queue contains the wait for the turn of its client.
func TestTheQueueTimeContainsTheWaitForATurn(t *testing.T) {
	s := startSlowServer(t, gateway.Config{SlowThreshold: 1}, 1)
	const clients = 16
	peers := make([]*peer, clients)
	for i := range peers {
		peers[i] = s.h.dial()
		peers[i].send("GET big")
		peers[i].wantBig(1)
	}
	console := s.h.dial()
	console.ask("RESPOOL SLOW RESET")
	before := s.h.Stats()
	s.StallReplies()
	for _, p := range peers {
		p.send("GET big")
	}
	s.awaitTurns(t, console, clients/2)
	began := time.Now()
	if st := s.h.Stats(); st.TurnWaiting == 0 || st.TurnWaiting > clients {
		t.Errorf("%d clients wait for their turn: want 1 to %d", st.TurnWaiting, clients)
	}
	if got := console.ask("RESPOOL STATS"); !regexp.MustCompile(`turn_waiting=[1-9][0-9]* `).MatchString(got) {
		t.Error(got)
	}
	held := time.Since(began) // less than the wait of those that wait now
	s.awaitTurns(t, console, 1)
	s.Relay.Resume()
	for _, p := range peers {
		p.wantBig(1)
	}
	testkit.Eventually(t, "the slow log has the wait", func() bool {
		for _, entry := range strings.Split(console.ask("RESPOOL SLOW 256"), "id=") {
			m := slowTimes.FindStringSubmatch(entry)
			if m == nil || m[4] != "GET" || !strings.Contains(entry, `"GET big"`) {
				continue
			}
			if queue, err := time.ParseDuration(m[1]); err == nil && queue >= held-time.Microsecond {
				return true
			}
		}
		return false
	})
	now := s.h.Stats()
	if now.TurnWaiting != 0 {
		t.Errorf("%d clients still wait", now.TurnWaiting)
	}
	if sum, n := now.Queue.Sum-before.Queue.Sum, now.Queue.Count-before.Queue.Count; sum < held || n == 0 {
		t.Errorf("%d commands waited for %v: want the %v of one at least", n, sum, held)
	}
}
