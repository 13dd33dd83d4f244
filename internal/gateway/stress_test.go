package gateway_test

import (
	"fmt"
	"io"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/gateway"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// WAIT waits for the last write of its own connection, but the client's writes use another one.
func TestWaitCountsReplicasOfTheClientsLastWrite(t *testing.T) {
	set := redistest.StartSentinels(t, redistest.SentinelConfig{Replicas: 1})
	h := open(t, set.URL("max_connections=4"), gateway.Config{})
	p := h.dial()
	p.send("SET a 1", "WAIT 1 20000")
	p.want("+OK|", ":1|")
	replica := set.Replicas()[0]
	replica.Pause()
	p.send("SET a 2", "WAIT 1 100")
	p.want("+OK|", ":0|")
	replica.Resume()
	if got := p.ask("WAIT 1 20000"); got != ":1|" {
		t.Error(got)
	}
}

func TestAFloodOfConnections(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	const most = 100
	h := open(t, s.URL()+"?max_connections=4", gateway.Config{MaxClients: most})
	first := h.dial()
	var wg sync.WaitGroup
	var refused atomic.Int64
	for range 3 * most {
		wg.Go(func() {
			conn, err := net.Dial("tcp", h.addr)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			p := newPeer(t, conn)
			_, _ = io.WriteString(conn, "GET a\r\n")
			got, err := p.tryFrame()
			switch {
			case err != nil, strings.HasPrefix(got, "-ERR max number of clients reached"):
				refused.Add(1) // the reset may overtake the error reply
			case got != "$-1\r\n":
				t.Errorf("%q", got)
			}
		})
	}
	for i := range 200 {
		if got := first.ask(fmt.Sprintf("ECHO %d", i)); got != bulk(fmt.Sprint(i)) {
			t.Fatal(got)
		}
	}
	wg.Wait()
	testkit.Await(t, "all have left", h.Stats, func(s gateway.Stats) bool { return s.Clients == 1 })
	if st := h.Stats(); st.Accepted+st.Refused != 3*most+1 {
		t.Errorf("%+v", st)
	}
	t.Logf("%d refused", refused.Load())
}

func TestClientsThatStopReading(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	h := open(t, s.URL()+"?max_connections=4", gateway.Config{OutputBuffer: 64 << 10})
	s.Do("SET", "big", strings.Repeat("x", 4<<10))
	ask := strings.Repeat("*2\r\n$3\r\nGET\r\n$3\r\nbig\r\n", 500)
	const clients, buffer = 500, 64 << 10
	path := h.listen("unix", filepath.Join(t.TempDir(), "gw"), nil) // a TCP socket would hold all replies
	var wg sync.WaitGroup
	var silent []*peer
	for range clients {
		p := h.dialTo("unix", path, nil)
		silent = append(silent, p)
		wg.Go(func() { _, _ = io.WriteString(p.Conn, ask) }) // and reads nothing
	}
	testkit.Await(t, "most clients have a full buffer", func() int64 { return h.Stats().Buffered },
		func(held int64) bool { return held > clients*buffer/2 })
	other := h.dial()
	for i := range 200 {
		other.send(fmt.Sprintf("SET other %d", i), "GET other")
		other.want("+OK|", bulk(fmt.Sprint(i)))
	}
	st := h.Stats()
	if st.Buffered > clients*(buffer+16*4<<10) {
		t.Errorf("%d bytes are held for clients that read nothing", st.Buffered)
	}
	t.Log(st.Buffered, "bytes are held,", st.SlowClosed, "clients were closed")
	for _, p := range silent {
		p.Conn.Close()
	}
	wg.Wait()
}

// Replies wait beyond the output buffer until no reply from the server is pending. Only the client's reads then make
// the gateway continue. The same applies to replies of the gateway itself.
func TestAClientThatReadsLateGetsAllReplies(t *testing.T) {
	onEach(t, gateway.Config{OutputBuffer: 1 << 20}, func(t *testing.T, h *testGateway, dial func() *peer) {
		const n, size = 12, 1 << 20
		p, q := dial(), dial()
		q.send("SET big " + strings.Repeat("x", size))
		q.want("+OK|")
		replies := func() {
			t.Helper()
			for range n {
				if _, err := io.CopyN(io.Discard, p.in, int64(len("$1048576|")+1+size+2)); err != nil {
					t.Fatal(err)
				}
			}
			p.want("+PONG|")
		}
		before := h.Stats().Commands
		go p.send(append(slices.Repeat([]string{"GET big"}, n), "PING")...)
		type state struct {
			commands          uint64
			buffered          int64
			turns, repliesDue int
		}
		var last state
		testkit.Await(t, "the output of the client is full", func() state {
			s := h.Stats()
			return state{s.Commands - before, s.Buffered, s.TurnWaiting, h.client.Stats().RepliesDue}
		}, func(s state) bool {
			same := s == last
			last = s
			return same && s.buffered > size/2 && s.repliesDue == 0
		})
		replies()
		go p.send(append(slices.Repeat([]string{"ECHO " + strings.Repeat("x", size)}, n), "PING")...)
		replies()
	})
}

// A client requests local replies behind a command that a pause holds back.
func TestWaitingRepliesAreBounded(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	h := open(t, s.URL(), gateway.Config{OutputBuffer: 1 << 20})
	const n, size = 60, 1 << 20
	p, operator := h.dial(), h.dial()
	for range 200 {
		p.ask("GET none") // teaches the gateway that replies are small
	}
	operator.ask("RESPOOL PAUSE 600")
	p.send("GET none")
	testkit.Eventually(t, "the client is held", func() bool { return strings.Contains(operator.ask("RESPOOL CLIENTS"), "state=paused") })
	before := h.Stats().Commands
	echo := "*2\r\n$4\r\nECHO\r\n$1048576\r\n" + strings.Repeat("x", size) + "\r\n"
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range n {
			if _, err := io.WriteString(p.Conn, echo); err != nil {
				return
			}
		}
	}()
	testkit.Await(t, "some commands are read", h.Stats, func(s gateway.Stats) bool { return s.Commands > before })
	for range 200 {
		commands := h.Stats().Commands
		operator.ask("RESPOOL POOLS") // time passes
		time.Sleep(time.Millisecond)
		if before++; commands > before+20 {
			t.Fatalf("%d replies of 1 MiB are held for a client that may hold 1 MiB", commands-before)
		}
	}
	operator.ask("RESPOOL RESUME")
	p.want("$-1|")
	for range n {
		if _, err := io.CopyN(io.Discard, p.in, int64(len("$1048576|")+1+size+2)); err != nil {
			t.Fatal(err)
		}
	}
	<-done
}
