package gateway_test

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/gateway"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

func TestRepliesKeepTheOrderOfCommands(t *testing.T) {
	onEach(t, gateway.Config{}, func(t *testing.T, h *testGateway, dial func() *peer) {
		p := dial()
		p.send("SET a 1", "PING", "INCR a", "GET a", "ECHO hello", "GET none", "SELECT 0", "INCR a")
		p.want("+OK|", "+PONG|", ":2|", "$1|2|", bulk("hello"), "$-1|", "+OK|", ":3|")
		var lines, want []string
		for i := range 5000 {
			if i%3 == 0 {
				lines, want = append(lines, fmt.Sprint("ECHO ", i)), append(want, bulk(fmt.Sprint(i)))
			} else {
				lines, want = append(lines, "INCR a"), append(want, fmt.Sprintf(":%d|", 4+i-i/3-1))
			}
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			p.send(lines...)
		}()
		p.want(want...)
		<-done
	})
}

func TestAClientThatSendsAndCloses(t *testing.T) {
	onEach(t, gateway.Config{}, func(t *testing.T, h *testGateway, dial func() *peer) {
		p := dial()
		p.send("SET b 1", "INCR b", "QUIT", "INCR b")
		p.want("+OK|", ":2|", "+OK|")
		p.ends()
		q := dial()
		if got := q.ask("GET b"); got != "$1|2|" {
			t.Errorf("after QUIT the client was served: %s", got)
		}
	})
}

func TestLargeValues(t *testing.T) {
	onEach(t, gateway.Config{}, func(t *testing.T, h *testGateway, dial func() *peer) {
		p := dial()
		value := strings.Repeat("0123456789abcdef", 1<<16) // 1 MiB
		for i := range 3 {
			p.write(fmt.Sprintf("*3\r\n$3\r\nSET\r\n$1\r\n%d\r\n$%d\r\n%s\r\n", i, len(value), value))
			p.want("+OK|")
		}
		p.send("GET 0", "GET 1", "STRLEN 2", "GET 2")
		for range 2 {
			if got := p.frame(); got != fmt.Sprintf("$%d\r\n%s\r\n", len(value), value) {
				t.Fatalf("%d bytes came", len(got))
			}
		}
		p.want(fmt.Sprintf(":%d|", len(value)))
		if got := p.frame(); len(got) != len(value)+len("$1048576\r\n\r\n") {
			t.Fatalf("%d bytes came", len(got))
		}
	})
}

func TestTransactions(t *testing.T) {
	onEach(t, gateway.Config{}, func(t *testing.T, h *testGateway, dial func() *peer) {
		p, q := dial(), dial()
		p.send("MULTI", "SET k 1", "INCR k", "EXEC", "GET k")
		p.want("+OK|", "+QUEUED|", "+QUEUED|", "*2|+OK|:2|", "$1|2|")
		p.send("WATCH k", "GET k")
		p.want("+OK|", "$1|2|")
		q.send("SET k 7")
		q.want("+OK|")
		p.send("MULTI", "SET k 8", "EXEC", "GET k")
		p.want("+OK|", "+QUEUED|", "*-1|", "$1|7|")
		p.send("WATCH k", "MULTI", "SET k 9", "EXEC", "GET k")
		p.want("+OK|", "+OK|", "+QUEUED|", "*1|+OK|", "$1|9|")
		p.send("MULTI", "NOSUCH", "EXEC")
		p.want("+OK|", "-ERR unknown command 'NOSUCH', with args beginning with: |", "-EXECABORT Transaction discarded because of previous errors.|")
	})
}

func TestABlockedClient(t *testing.T) {
	onEachBlocking(t, gateway.Config{}, func(t *testing.T, h *testGateway, dial func() *peer) {
		p, q := dial(), dial()
		p.send("BLPOP list 0", "PING")
		testkit.Await(t, "the client is blocked", h.Stats, func(s gateway.Stats) bool { return s.Blocked == 1 })
		q.send("RPUSH list a b")
		q.want(":2|")
		p.want("*2|"+bulk("list")+bulk("a"), "+PONG|")

		// A client that leaves while it blocks pops no element.
		gone := dial()
		gone.send("BLPOP other 0")
		testkit.Await(t, "the client is blocked", h.Stats, func(s gateway.Stats) bool { return s.Blocked == 1 })
		gone.Close()
		testkit.Await(t, "the client is gone", h.Stats, func(s gateway.Stats) bool { return s.Blocked == 0 })
		testkit.Eventually(t, "its connection is gone", func() bool { return h.client.Stats().Dedicated == 0 && h.client.Stats().Closing == 0 })
		q.send("RPUSH other x", "LPOP other")
		q.want(":1|", bulk("x"))
	})
}

func TestClientsAreListedUnblockedAndKilled(t *testing.T) {
	onEachBlocking(t, gateway.Config{}, func(t *testing.T, h *testGateway, dial func() *peer) {
		p, q := dial(), dial()
		p.send("CLIENT SETNAME worker", "CLIENT ID", "CLIENT GETNAME")
		p.want("+OK|")
		id := strings.Trim(p.frame(), ":\r\n")
		p.want(bulk("worker"))
		list := q.ask("CLIENT LIST")
		if !strings.Contains(list, "id="+id+" ") || !strings.Contains(list, "name=worker") || !strings.Contains(list, "cmd=client|list") {
			t.Errorf("%s", list)
		}
		p.send("BLPOP list 0")
		testkit.Await(t, "the client is blocked", h.Stats, func(s gateway.Stats) bool { return s.Blocked == 1 })
		testkit.Await(t, "the client is unblocked", func() string { return q.ask("CLIENT UNBLOCK " + id + " ERROR") }, testkit.Is(":1|"))
		p.want("-UNBLOCKED client unblocked via CLIENT UNBLOCK|")
		if got := q.ask("CLIENT KILL ID " + id); got != ":1|" {
			t.Error(got)
		}
		p.ends()
		if got := q.ask("CLIENT KILL ID " + id); got != ":0|" {
			t.Error(got)
		}
	})
}

func TestTheConsole(t *testing.T) {
	onEach(t, gateway.Config{}, func(t *testing.T, h *testGateway, dial func() *peer) {
		p, q := dial(), dial()
		for _, cmd := range []string{"HELP", "POOLS", "CLIENTS", "SERVERS", "STATS", "CONFIG"} {
			if got := p.ask("RESPOOL " + cmd); got[0] != '*' || len(got) < 10 {
				t.Errorf("%s: %s", cmd, got)
			}
		}
		if got := p.ask("RESPOOL nonsense"); !strings.Contains(got, `unknown command "nonsense": try RESPOOL HELP`) {
			t.Error(got)
		}
		if got := p.ask("RESPOOL PAUSE 60"); got != "+OK|" {
			t.Fatal(got)
		}
		q.send("SET paused 1", "GET paused")
		testkit.Eventually(t, "a client waits", func() bool { return strings.Contains(p.ask("RESPOOL CLIENTS"), "state=paused") })
		if got := p.ask("RESPOOL RESUME"); got != "+OK|" {
			t.Fatal(got)
		}
		q.want("+OK|", "$1|1|")
		if got := p.ask("RESPOOL RECONNECT"); got != "+OK|" {
			t.Fatal(got)
		}
		if got := q.ask("GET paused"); got != "$1|1|" {
			t.Fatal(got)
		}
	})
}

func TestSubscribers(t *testing.T) {
	onEach(t, gateway.Config{}, func(t *testing.T, h *testGateway, dial func() *peer) {
		p, q, r := dial(), dial(), dial()
		p.send("SUBSCRIBE a b", "PSUBSCRIBE n*", "PING")
		p.want("*3|$9|subscribe|$1|a|:1|", "*3|$9|subscribe|$1|b|:2|", "*3|$10|psubscribe|$2|n*|:3|", "*2|$4|pong|$0||")
		if got := r.ask("HELLO 3"); got[0] != '%' {
			t.Fatal(got)
		}
		r.send("SUBSCRIBE a", "GET none")
		r.want(">3|$9|subscribe|$1|a|:1|", "_|")
		q.send("PUBLISH a one", "PUBLISH news two", "PUBLISH c three", "PUBLISH b four")
		q.want(":1|", ":1|", ":0|", ":1|")
		p.want("*3|$7|message|$1|a|$3|one|", "*4|$8|pmessage|$2|n*|$4|news|$3|two|", "*3|$7|message|$1|b|$4|four|")
		r.want(">3|$7|message|$1|a|$3|one|")
		p.send("GET x", "UNSUBSCRIBE a", "UNSUBSCRIBE", "PUNSUBSCRIBE", "GET none")
		p.want("-ERR Can't execute 'get': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context|",
			"*3|$11|unsubscribe|$1|a|:2|", "*3|$11|unsubscribe|$1|b|:1|", "*3|$12|punsubscribe|$2|n*|:0|", "$-1|")
		q.send("PUBLISH a last")
		q.want(":1|")
		r.want(">3|$7|message|$1|a|$4|last|")
		r.Close()
		testkit.Await(t, "no client is subscribed", func() string { return q.ask("PUBLISH a none") }, testkit.Is(":0|"))
	})
}

func TestTheFirstClientOfADatabaseUsesItsLanes(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	h := open(t, s.URL()+"?max_connections=4", gateway.Config{})
	p := h.dial()
	const commands = 1000
	for _, first := range []string{"SELECT 5", "HELLO 3"} {
		p.ask(first)
		before := h.Stats().Queue.Count
		for i := range commands {
			if got, want := p.ask("INCR "+strings.Fields(first)[0]), fmt.Sprintf(":%d|", i+1); got != want {
				t.Fatalf("%q: want %q", got, want)
			}
		}
		// Of the commands that are posted at once a sample is counted, and of the others all.
		if n := h.Stats().Queue.Count - before; n > commands/10 {
			t.Errorf("after %s, %d of %d commands had to wait for a lane", first, n, commands)
		}
	}
}

func TestLargeRepliesInMemoryAreComplete(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	h := open(t, s.URL(), gateway.Config{})
	const size = 300 << 10
	s.Do("SET", "big", strings.Repeat("x", size))
	conn, err := h.DialContext(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	p := newPeer(t, conn)
	for range 500 {
		p.send("GET big")
		if _, err := io.CopyN(io.Discard, p.in, int64(len("$307200|")+1+size+2)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRequestsBeforeAHalfCloseGetReplies(t *testing.T) {
	onEach(t, gateway.Config{Pipeline: 100}, func(t *testing.T, h *testGateway, dial func() *peer) {
		p := dial()
		half, ok := p.Conn.(interface{ CloseWrite() error })
		if !ok {
			return // a memory connection cannot half-close
		}
		const n = 50_000
		go func() {
			_, _ = io.WriteString(p.Conn, strings.Repeat("INCR n\r\n", n)+"BLPOP none 0\r\nPING\r\n")
			_ = half.CloseWrite()
		}()
		for i := range n {
			p.want(fmt.Sprintf(":%d|", i+1))
		}
		p.ends() // a server sends nothing for a canceled blocking command, nor for the commands after it
	})
}

func TestMonitorOutputFollowsTheReply(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	h := open(t, s.URL()+"?max_connections=4&lanes=1", gateway.Config{})
	load := countUp(h, 8, 50)
	for range 30 {
		p := h.dial()
		if got := p.ask("MONITOR"); got != "+OK|" {
			t.Errorf("MONITOR gave %q", got)
		}
		if got := p.frame(); !strings.Contains(got, `"INCR" "c`) {
			t.Errorf("%q followed", got)
		}
		p.Close()
	}
	load.end(s)
}

func TestMonitorWithoutAConnectionGetsAnError(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	h := open(t, s.URL()+"?max_connections=2&timeout=0.05", gateway.Config{})
	var replies []string
	for range 3 {
		replies = append(replies, h.dial().ask("MONITOR")[:4])
	}
	if last := replies[2]; last != "-LOA" {
		t.Errorf("on two connections three clients got %q", replies)
	}
}

// The test counts allocated bytes: pending input is not copied each time a part of it is processed.
func TestALongPipelineInMemoryIsNotCopiedRepeatedly(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	h := open(t, s.URL(), gateway.Config{Pipeline: 100})
	conn, err := h.DialContext(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	p := newPeer(t, conn)
	const n = 30_000
	in := strings.Repeat("INCR "+strings.Repeat("n", 200)+"\r\n", n)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	go p.write(in)
	for i := range n {
		if line, err := p.in.ReadString('\n'); err != nil || line != fmt.Sprintf(":%d\r\n", i+1) {
			t.Fatalf("reply %d is %q, %v", i, line, err)
		}
	}
	runtime.ReadMemStats(&after)
	if took := int(after.TotalAlloc - before.TotalAlloc); took > 50*len(in) {
		t.Errorf("%d bytes were allocated for %d bytes of commands", took, len(in))
	}
}

// The gateway starts before its server and learns the version later.
func TestHelloReturnsTheVersionOnceTheServerIsUp(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	version := s.Version().Number()
	s.Stop()
	h := open(t, s.URL(), gateway.Config{})
	p := h.dial()
	if got := p.ask("HELLO"); !strings.Contains(got, "|version|$0||") {
		t.Error(got)
	}
	s.Restart()
	testkit.Eventually(t, "HELLO contains the version", func() bool { return strings.Contains(h.dial().ask("HELLO"), "|version|"+bulk(version)) })
	if got := h.dial().ask("SELECT 99"); got != "-ERR DB index is out of range|" {
		t.Error(got)
	}
}

func TestAConnectionFailsAfterItsDeadline(t *testing.T) {
	onEach(t, gateway.Config{}, func(t *testing.T, h *testGateway, dial func() *peer) {
		if strings.HasSuffix(t.Name(), "/tls") {
			return // a passed deadline makes a TLS connection unusable
		}
		p := dial()
		p.send("SET a 1")
		testkit.Await(t, "the reply is sent", h.Stats, func(s gateway.Stats) bool { return s.BytesOut == 5 })
		_ = p.SetDeadline(time.Now().Add(-time.Second))
		if n, err := p.Read(make([]byte, 10)); n > 0 || !isDeadline(err) {
			t.Errorf("Read gave %d bytes and %v", n, err)
		}
		if n, err := p.Write([]byte("SET a 2\r\n")); n > 0 || !isDeadline(err) {
			t.Errorf("Write took %d bytes and gave %v", n, err)
		}
		_ = p.SetDeadline(time.Now().Add(patience))
		p.send("GET a")
		p.want("+OK|", "$1|1|")
	})
}
