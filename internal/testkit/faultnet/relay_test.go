package faultnet

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/testkit"
)

// patience limits every wait of these tests.
const patience = testkit.Patience

func TestBytesPassUnchangedBothWays(t *testing.T) {
	for name, d := range map[string]time.Duration{"without delay": 0, "with delay": time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			_, r := start(t)
			r.Delay(d, d)
			conn := dial(t, r)
			sent := make([]byte, 32<<20)
			chacha := rand.NewChaCha8([32]byte{1})
			_, _ = chacha.Read(sent)
			var writer sync.WaitGroup
			writer.Go(func() {
				_, _ = conn.Write(sent)
				_ = conn.CloseWrite()
			})
			hash := sha256.New()
			n, err := io.Copy(hash, conn)
			writer.Wait()
			if want := sha256.Sum256(sent); err != nil || n != int64(len(sent)) || !bytes.Equal(hash.Sum(nil), want[:]) {
				t.Errorf("received %d bytes, %v: want the %d sent", n, err, len(sent))
			}
			testkit.Await(t, "no connection is left", r.Conns, testkit.Is(0))
		})
	}
}

func TestCutAllResetsBothSidesAtOnce(t *testing.T) {
	for name, prepare := range map[string]func(*Relay){
		"flowing":   func(*Relay) {},
		"stalled":   (*Relay).Stall,
		"delayed":   func(r *Relay) { r.Delay(time.Hour, 0) },
		"slow":      func(r *Relay) { r.SlowReader(1) },
		"cut later": func(r *Relay) { r.CutAfter(1 << 20) },
	} {
		t.Run(name, func(t *testing.T) {
			e, r := start(t)
			conn := dial(t, r)
			exchange(t, conn, "before")
			prepare(r)
			send(t, conn, "lost or not")
			r.CutAll()
			if _, err := ending(conn); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("the end is %v: want a reset", err)
			}
			testkit.Await(t, "the server sees the end", e.count, testkit.Is(1))
			testkit.Await(t, "no connection is left", r.Conns, testkit.Is(0))
		})
	}
}

func TestHalfCloseKeepsTheOtherDirection(t *testing.T) {
	e, r := start(t)
	conn := dial(t, r)
	exchange(t, conn, "before")
	r.HalfClose()
	r.HalfClose() // a second call has no effect
	if got, err := ending(conn); got != "" || err != nil {
		t.Errorf("the end is %q, %v: want only a FIN", got, err)
	}
	send(t, conn, "after")
	testkit.Await(t, "the server receives the bytes sent after", e.received, testkit.Is("beforeafter"))
	if n := r.Conns(); n != 1 {
		t.Errorf("%d connections are open: want 1", n)
	}
	conn.Close()
	testkit.Await(t, "the server sees the end", e.count, testkit.Is(1))
}

func TestTheClientsHalfCloseReachesTheServer(t *testing.T) {
	_, r := start(t)
	conn := dial(t, r)
	send(t, conn, "last words")
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := ending(conn); got != "last words" || err != nil {
		t.Errorf("the end is %q, %v", got, err)
	}
}

func TestASlowReaderPushesBack(t *testing.T) {
	e, r := start(t)
	r.SlowReader(1000)
	conn := dial(t, r)
	// More than all buffers hold. At this speed it takes two days.
	bytes := make([]byte, 200<<20)
	_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
	n, err := conn.Write(bytes)
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("wrote %d bytes, %v: want the buffers to fill", n, err)
	}
	if got := len(e.received()); got >= n {
		t.Errorf("the server received %d of %d bytes: want fewer", got, n)
	}
	r.SlowReader(0)
	testkit.Eventually(t, "the rest arrives", func() bool {
		_ = conn.SetReadDeadline(time.Now().Add(patience))
		_, _ = conn.Read(make([]byte, 1<<20))
		return len(e.received()) == n
	})
}

func TestRefuseClosesOnlyNewConnections(t *testing.T) {
	_, r := start(t)
	old := dial(t, r)
	exchange(t, old, "before")
	r.Refuse(true)
	if got, _ := ending(dial(t, r)); got != "" {
		t.Errorf("a refused connection received %q", got)
	}
	exchange(t, old, "still open")
	r.Refuse(false)
	exchange(t, dial(t, r), "welcome again")
	if n := r.Accepted(); n != 3 {
		t.Errorf("%d connections were accepted: want 3", n)
	}
}

func TestABlackholeSendsNothing(t *testing.T) {
	e, r := start(t)
	r.Blackhole(true)
	conn := dial(t, r)
	send(t, conn, "hello?")
	nothing(t, conn)
	if got := e.received(); got != "" {
		t.Errorf("the server received %q", got)
	}
	r.Blackhole(false)
	exchange(t, dial(t, r), "light")
	r.HalfClose()
	if got, err := ending(conn); got != "" || err != nil {
		t.Errorf("the half-closed end is %q, %v: want only a FIN", got, err)
	}
	r.CutAll()
	testkit.Await(t, "no connection is left", r.Conns, testkit.Is(0))
}

func TestTheTargetCanChange(t *testing.T) {
	first, r := start(t)
	second := startEcho(t)
	old := dial(t, r)
	exchange(t, old, "old")
	r.SetTarget(second.l.Addr().String())
	exchange(t, dial(t, r), "new")
	exchange(t, old, "er")
	if a, b := first.received(), second.received(); a != "older" || b != "new" {
		t.Errorf("the first server received %q, the second %q", a, b)
	}
}

func TestADeadTargetClosesTheConnection(t *testing.T) {
	r := Start(t, testkit.ReserveAddr(t))
	if got, _ := ending(dial(t, r)); got != "" {
		t.Errorf("a connection to nowhere received %q", got)
	}
}

func TestConnectionsAreCounted(t *testing.T) {
	_, r := start(t)
	var conns []net.Conn
	for i := range 5 {
		conn := dial(t, r)
		exchange(t, conn, "x")
		conns = append(conns, conn)
		if n := r.Conns(); n != i+1 {
			t.Errorf("%d connections are open: want %d", n, i+1)
		}
	}
	for _, conn := range conns {
		conn.Close()
	}
	testkit.Await(t, "no connection is left", r.Conns, testkit.Is(0))
	if n := r.Accepted(); n != 5 {
		t.Errorf("%d connections were accepted: want 5", n)
	}
}

func TestCloseEndsEverythingDuringEachFault(t *testing.T) {
	for name, prepare := range map[string]func(*Relay){
		"flowing":    func(*Relay) {},
		"stalled":    (*Relay).Stall,
		"no replies": (*Relay).StallReplies,
		"delayed":    func(r *Relay) { r.Delay(time.Hour, time.Hour) },
		"slow":       func(r *Relay) { r.SlowReader(1) },
		"black hole": func(r *Relay) { r.Blackhole(true) },
		"half":       (*Relay).HalfClose,
	} {
		t.Run(name, func(t *testing.T) {
			_, r := start(t)
			old := dial(t, r)
			exchange(t, old, "before")
			prepare(r)
			send(t, old, "during")
			send(t, dial(t, r), "new")
			r.Close()
			if n := r.Conns(); n != 0 {
				t.Errorf("%d connections are open after Close", n)
			}
			r.Stall() // without effect
			r.Close() // a second call has no effect
			if conn, err := net.Dial("tcp", r.Addr()); err == nil {
				conn.Close()
				t.Error("a closed relay accepts")
			}
		})
	}
}

func TestConcurrentFaults(t *testing.T) {
	_, r := start(t)
	stop := make(chan struct{})
	var clients sync.WaitGroup
	for range 8 {
		clients.Go(func() {
			b := make([]byte, 100)
			for {
				select {
				case <-stop:
					return
				default:
				}
				conn, err := net.Dial("tcp", r.Addr())
				if err != nil {
					return
				}
				for err == nil {
					_ = conn.SetDeadline(time.Now().Add(20 * time.Millisecond))
					if _, err = conn.Write(b); err == nil {
						_, err = io.ReadFull(conn, b)
					}
				}
				conn.Close()
			}
		})
	}
	faults := []func(){
		r.CutAll, r.HalfClose, r.Stall, r.Resume, r.StallReplies, r.Resume,
		func() { r.CutAfter(rand.Int64N(300)) },
		func() { r.Delay(rand.N(time.Millisecond), time.Millisecond) },
		func() { r.Refuse(rand.IntN(2) == 0) },
		func() { r.Blackhole(rand.IntN(2) == 0) },
		func() { r.SlowReader(rand.IntN(2) * 1000) },
	}
	var disturbers sync.WaitGroup
	for range 4 {
		disturbers.Go(func() {
			for range 500 {
				faults[rand.IntN(len(faults))]()
				time.Sleep(rand.N(500 * time.Microsecond))
			}
		})
	}
	disturbers.Wait()
	close(stop)
	r.Close()
	clients.Wait()
}

func BenchmarkRoundTripOfAMillisecond(b *testing.B) {
	_, r := start(b)
	r.Delay(500*time.Microsecond, 0)
	conn := dial(b, r)
	_ = conn.SetDeadline(time.Time{})
	for b.Loop() {
		exchange(b, conn, "x")
	}
}
