package faultnet

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/testkit"
)

func TestDelayDoesNotLimitTheThroughput(t *testing.T) {
	_, r := start(t)
	const oneWay = 20 * time.Millisecond
	r.Delay(oneWay, 5*time.Millisecond)
	conn := dial(t, r)
	begin := time.Now()
	exchange(t, conn, "alone")
	if took := time.Since(begin); took < 2*oneWay {
		t.Errorf("a round trip took %v: want %v at least", took, 2*oneWay)
	}

	// 200 chunks are in flight together. If each waited for the one before it, they would take four
	// seconds each way.
	const chunks = 200
	begin = time.Now()
	pace := time.NewTicker(time.Millisecond) // keeps the chunks apart
	defer pace.Stop()
	for range chunks {
		<-pace.C
		send(t, conn, "chunk")
	}
	receive(t, conn, strings.Repeat("chunk", chunks))
	if took := time.Since(begin); took > chunks*oneWay {
		t.Errorf("%d chunks took %v: each waited for the one before it", chunks, took)
	}
	r.Delay(0, 0)
	exchange(t, conn, "prompt")
}

func TestAStallLosesNothing(t *testing.T) {
	e, r := start(t)
	conn := dial(t, r)
	exchange(t, conn, "before")
	r.Stall()
	send(t, conn, "during")
	nothing(t, conn)
	if got := e.received(); got != "before" {
		t.Errorf("the server received %q: want nothing new", got)
	}
	second := dial(t, r) // still accepted
	send(t, second, "second")
	nothing(t, second)
	r.Resume()
	receive(t, conn, "during")
	receive(t, second, "second")
}

func TestStalledRepliesLetCommandsPass(t *testing.T) {
	e, r := start(t)
	conn := dial(t, r)
	r.StallReplies()
	send(t, conn, "command")
	testkit.Await(t, "the server receives the command", e.received, testkit.Is("command"))
	nothing(t, conn)
	r.Resume()
	receive(t, conn, "command")
}

// A cut drops the bytes that a stall holds back.
func TestACutDropsStalledBytes(t *testing.T) {
	for name, stall := range map[string]func(*Relay){
		"replies":   (*Relay).StallReplies,
		"both":      (*Relay).Stall,
		"after two": func(r *Relay) { r.StallAfter(2) },
		"a delay":   func(r *Relay) { r.Delay(time.Hour, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			for _, end := range []func(*Relay){(*Relay).CutAll, (*Relay).Close} {
				for range 50 {
					e, r := start(t)
					conn := dial(t, r)
					exchange(t, conn, "before")
					stall(r)
					send(t, conn, "lost")
					if name != "both" && name != "a delay" {
						testkit.Await(t, "the server receives the bytes", e.received, testkit.Is("beforelost"))
					}
					end(r)
					if got, err := io.ReadAll(conn); len(got) > 2 || err == nil {
						t.Fatalf("received %q, %v: want a reset", got, err)
					}
					r.Close()
				}
			}
		})
	}
}

func TestStallAfterStallsInTheMiddle(t *testing.T) {
	for _, n := range []int64{0, 1, 4, 10} {
		_, r := start(t)
		conn := dial(t, r)
		exchange(t, conn, "whole")
		r.StallAfter(n)
		exchange(t, dial(t, r), "a new connection is not stalled")
		send(t, conn, "01234567890123456789")
		receive(t, conn, "01234567890123456789"[:n])
		nothing(t, conn)
		r.Resume()
		receive(t, conn, "01234567890123456789"[n:])
		exchange(t, conn, "whole again")
	}
}

func TestSwallowedConnectionsStayOpenAndNewOnesWork(t *testing.T) {
	e, r := start(t)
	conn := dial(t, r)
	exchange(t, conn, "one")
	r.Swallow()
	send(t, conn, "lost")
	nothing(t, conn)
	other := dial(t, r)
	exchange(t, other, "two")
	if got := e.received(); got != "onetwo" {
		t.Errorf("the server received %q", got)
	}
	conn.Close()
	other.Close()
	testkit.Eventually(t, "the server sees the end of the working connection", func() bool { return e.count() > 0 })
	if n := e.count(); n != 1 {
		t.Errorf("the server saw %d ends: want one", n)
	}
}

func TestCutAfterCutsInTheMiddle(t *testing.T) {
	for _, n := range []int64{0, 1, 4, 10} {
		e, r := start(t)
		first, second := dial(t, r), dial(t, r)
		exchange(t, first, "whole")
		exchange(t, second, "whole")
		r.CutAfter(n)
		send(t, first, "0123456789")
		wantReset(t, first, "0123456789"[:n])
		send(t, second, "abcdefghij")
		wantReset(t, second, "abcdefghij"[:n])
		testkit.Await(t, "the server sees both ends", e.count, testkit.Is(2))
		exchange(t, dial(t, r), "a new connection is whole again")
	}
}

func TestCutAfterCountsAcrossChunks(t *testing.T) {
	_, r := start(t)
	conn := dial(t, r)
	exchange(t, conn, "before")
	r.CutAfter(5)
	exchange(t, conn, "abc")
	send(t, conn, "defg")
	wantReset(t, conn, "de")
}

func TestABlockedClientReachesNothing(t *testing.T) {
	e, r := start(t)
	blocked, free := dial(t, r), dial(t, r)
	exchange(t, blocked, "1")
	exchange(t, free, "2")
	is := func(client string) bool { return client == blocked.LocalAddr().String() }
	r.Block(is)
	send(t, blocked, "lost")
	exchange(t, free, "3")
	r.Block(is) // the same again changes nothing
	nothing(t, blocked)
	r.Block(func(string) bool { return true })
	late := dial(t, r)
	send(t, late, "lost too")
	nothing(t, late)
	nothing(t, free)
	r.Block(nil)
	for _, conn := range []net.Conn{blocked, free, late} {
		wantReset(t, conn, "")
	}
	exchange(t, dial(t, r), "4")
	if got := e.received(); got != "1234" {
		t.Errorf("the target received %q: want 1234", got)
	}
}

func TestARelayMoves(t *testing.T) {
	_, r := start(t)
	before := r.Addr()
	conn := dial(t, r)
	exchange(t, conn, "before")
	if err := r.Move(); err != nil {
		t.Fatal(err)
	}
	wantReset(t, conn, "")
	if conn, err := net.Dial("tcp", before); err == nil {
		conn.Close()
		t.Errorf("%s still accepts connections", before)
	}
	exchange(t, dial(t, r), "after")
	r.Close()
	if err := r.Move(); err == nil {
		t.Error("a closed relay moves")
	}
}

func TestTheOriginOfAConnectionIsKnown(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	r := Start(t, l.Addr().String())
	conn := dial(t, r)
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	testkit.Await(t, "the origin", func() string { client, _ := r.Origin(server.RemoteAddr().String()); return client }, testkit.Is(conn.LocalAddr().String()))
	if client, ok := r.Origin("127.0.0.1:1"); ok {
		t.Errorf("the origin of no connection is %s", client)
	}
}
