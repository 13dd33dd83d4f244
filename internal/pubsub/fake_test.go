package pubsub

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/pool"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
	"github.com/seed-2b0d76a6/respool/internal/wire"
	"github.com/seed-2b0d76a6/respool/resp"
)

// fake is a RESP2 server in memory that answers as the test says: reply is
// given the number of the connection, from 1, and a command. Nothing is sent
// where it returns "".
type fake struct {
	reply func(conn int, command []string) string

	mu    sync.Mutex
	conns []net.Conn
}

func (f *fake) dial(context.Context, string, string) (net.Conn, error) {
	client, server := net.Pipe()
	f.mu.Lock()
	f.conns = append(f.conns, server)
	n := len(f.conns)
	f.mu.Unlock()
	go f.serve(n, server)
	return client, nil
}

func (f *fake) serve(n int, conn net.Conn) {
	defer conn.Close()
	var buf []byte
	chunk := make([]byte, 4096)
	for {
		m, err := conn.Read(chunk)
		if err != nil {
			return
		}
		buf = append(buf, chunk[:m]...)
		for {
			v, used, err := resp.Decode(buf)
			if err != nil {
				break
			}
			buf = buf[used:]
			var command []string
			for _, e := range v.Elems {
				command = append(command, string(e.Str))
			}
			if _, err := conn.Write([]byte(f.reply(n, command))); err != nil {
				return
			}
		}
	}
}

// send sends text on the connection made last.
func (f *fake) send(t *testing.T, text string) {
	t.Helper()
	f.mu.Lock()
	conn := f.conns[len(f.conns)-1]
	f.mu.Unlock()
	if _, err := conn.Write([]byte(text)); err != nil {
		t.Fatalf("send %q: %v", text, err)
	}
}

func (f *fake) connections() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.conns)
}

// newFakeHub makes a hub whose connections are those of f.
func newFakeHub(t *testing.T, f *fake, cfg Config) *Hub {
	return newHubAt(t, &wire.Config{Addr: "fake", Protocol: 2, DialFunc: f.dial}, setup{hub: cfg})
}

// frame is an array of strings; the last one of a confirmation is a number.
func frame(parts ...string) string {
	var b strings.Builder
	b.WriteString("*" + strconv.Itoa(len(parts)) + "\r\n")
	for _, p := range parts {
		if _, err := strconv.Atoi(p); err == nil {
			b.WriteString(":" + p + "\r\n")
			continue
		}
		b.WriteString("$" + strconv.Itoa(len(p)) + "\r\n" + p + "\r\n")
	}
	return b.String()
}

// confirm answers as a server does.
func confirm(_ int, command []string) string {
	if command[0] == "PING" {
		return "+PONG\r\n"
	}
	out := ""
	for _, name := range command[1:] {
		out += frame(strings.ToLower(command[0]), name, "1")
	}
	return out
}

func TestASilentServerIsLeft(t *testing.T) {
	for name, cfg := range map[string]Config{
		"health check": {HealthCheck: time.Second},
		"both":         {HealthCheck: time.Minute, StallLimit: time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var mu sync.Mutex
				silent := false
				f := &fake{reply: func(conn int, command []string) string {
					mu.Lock()
					defer mu.Unlock()
					if silent && conn == 1 {
						return ""
					}
					return confirm(conn, command)
				}}
				h := newFakeHub(t, f, cfg)
				s := mustSubscribe(t, h, Channel, "c")
				time.Sleep(time.Hour)
				if n := f.connections(); n != 1 {
					t.Fatalf("%d connections were made while the server answered: want 1", n)
				}
				mu.Lock()
				silent = true
				mu.Unlock()
				if msg, err := s.Receive(context.Background()); err != nil || text(msg) != "gap(reconnected, -1)" {
					t.Fatalf("Receive: %v, %v: want a gap", text(msg), err)
				}
				f.send(t, frame("message", "c", "x"))
				wantMessages(t, s, "c x")
			})
		})
	}
}

func TestAServerThatDoesNotConfirmIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{reply: func(conn int, command []string) string {
			if conn == 1 && command[0] == "SUBSCRIBE" {
				return ""
			}
			return confirm(conn, command)
		}}
		h := newFakeHub(t, f, Config{StallLimit: time.Second})
		s := mustSubscribe(t, h, Channel, "c")
		f.send(t, frame("message", "c", "x"))
		wantMessages(t, s, "c x") // no gap: it had never been confirmed before
	})
}

func TestWhatTheServerMustNotSendCostsTheConnection(t *testing.T) {
	for name, bytes := range map[string]string{
		"short message":           frame("message", "c"),
		"unasked confirmation":    frame("subscribe", "other", "1"),
		"unasked unsubscription":  frame("unsubscribe", "c", "0"),
		"unasked pong":            "+PONG\r\n",
		"unasked error":           "-ERR what\r\n",
		"unknown array":           frame("news", "c", "x"),
		"empty array":             "*0\r\n",
		"null array":              "*-1\r\n",
		"integer":                 ":1\r\n",
		"nested array":            "*3\r\n*1\r\n:1\r\n$1\r\nc\r\n$1\r\nx\r\n",
		"confirmation of nothing": "*3\r\n$9\r\nsubscribe\r\n$-1\r\n:0\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fake{reply: confirm}
				h := newFakeHub(t, f, Config{})
				s := mustSubscribe(t, h, Channel, "c")
				f.send(t, bytes+frame("message", "c", "dropped"))
				wantMessages(t, s, "gap(reconnected, -1)")
				if n := f.connections(); n != 2 {
					t.Errorf("%d connections were made: want 2", n)
				}
				f.send(t, frame("message", "c", "x"))
				wantMessages(t, s, "c x")
			})
		})
	}
}

func TestOtherPushesAreIgnored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{reply: confirm}
		h := newFakeHub(t, f, Config{})
		s := mustSubscribe(t, h, Channel, "c")
		f.send(t, ">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n")
		f.send(t, ">4\r\n$5\r\nother\r\n*1\r\n:1\r\n%1\r\n:1\r\n:2\r\n+x\r\n")
		f.send(t, frame("message", "unknown", "x"))
		f.send(t, frame("message", "c", "x"))
		wantMessages(t, s, "c x")
	})
}

func TestAShardChannelThatMovedIsSubscribedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{reply: confirm}
		h := newFakeHub(t, f, Config{})
		s := mustSubscribe(t, h, Shard, "s", "t")
		other := mustSubscribe(t, h, Shard, "t")
		f.send(t, frame("smessage", "s", "before"))
		f.send(t, frame("sunsubscribe", "s", "0"))
		f.send(t, frame("sunsubscribe", "s", "0"))
		wantMessages(t, s, "s before", "gap(reconnected, -1)")
		f.send(t, frame("smessage", "s", "after")+frame("smessage", "t", "end"))
		wantMessages(t, s, "s after", "t end")
		wantMessages(t, other, "t end")
		if n := f.connections(); n != 1 {
			t.Errorf("%d connections were made: want 1", n)
		}
	})
}

func TestARefusalOfTheMomentDoesNotEndASubscription(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{reply: func(conn int, command []string) string {
			if command[0] != "PING" && (conn > 1 && conn < 10 || command[1] == "busy") {
				return "-BUSY a script is running\r\n"
			}
			return confirm(conn, command)
		}}
		h := newFakeHub(t, f, Config{})
		s := mustSubscribe(t, h, Channel, "c", "d")
		if err := s.Add(context.Background(), "busy"); !errors.Is(err, &resp.ServerError{Code: "BUSY"}) {
			t.Errorf("Add: %v: want BUSY", err)
		}
		f.send(t, "+cut\r\n")
		wantMessages(t, s, "gap(reconnected, -1)")
		if n := f.connections(); n != 10 {
			t.Errorf("%d connections were made: want 10", n)
		}
		f.send(t, frame("message", "d", "x"))
		wantMessages(t, s, "d x")
	})
}

func TestARefusedPingIsAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{reply: func(conn int, command []string) string {
			if command[0] == "PING" {
				return "-NOPERM no\r\n"
			}
			return confirm(conn, command)
		}}
		h := newFakeHub(t, f, Config{HealthCheck: time.Second})
		mustSubscribe(t, h, Channel, "c")
		time.Sleep(time.Hour)
		if n := f.connections(); n != 1 {
			t.Errorf("%d connections were made: want 1", n)
		}
	})
}

func TestRemoveEndsAnAddThatWaitsForTheName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{reply: func(conn int, command []string) string {
			if command[0] == "SUBSCRIBE" && command[1] == "late" {
				return ""
			}
			return confirm(conn, command)
		}}
		h := newFakeHub(t, f, Config{})
		s := mustSubscribe(t, h, Channel, "c")
		added := make(chan error)
		go func() { added <- s.Add(context.Background(), "late") }()
		synctest.Wait()
		if err := s.Remove("late"); err != nil {
			t.Fatal(err)
		}
		if err := <-added; err != nil {
			t.Errorf("Add: %v", err)
		}
		// Close ends one as well.
		go func() { added <- s.Add(context.Background(), "late") }()
		synctest.Wait()
		_ = s.Close()
		if err := <-added; !errors.Is(err, ErrClosed) {
			t.Errorf("Add: %v: want ErrClosed", err)
		}
	})
}

func TestAFailedAddKeepsWhatAnotherOneAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		withheld := make(chan string, 1)
		f := &fake{reply: func(conn int, command []string) string {
			if command[0] == "SUBSCRIBE" && command[1] == "late" {
				withheld <- confirm(conn, command)
				return ""
			}
			return confirm(conn, command)
		}}
		h := newFakeHub(t, f, Config{})
		s := mustSubscribe(t, h, Channel, "c")
		ctx, cancel := context.WithCancel(context.Background())
		left, kept := make(chan error), make(chan error)
		go func() { left <- s.Add(ctx, "late", "c") }()
		go func() { kept <- s.Add(context.Background(), "late") }()
		synctest.Wait()
		cancel()
		if err := <-left; !errors.Is(err, context.Canceled) {
			t.Errorf("Add: %v: want context.Canceled", err)
		}
		f.send(t, <-withheld)
		if err := <-kept; err != nil {
			t.Errorf("Add: %v", err)
		}
		f.send(t, frame("message", "late", "x")+frame("message", "c", "y"))
		wantMessages(t, s, "late x", "c y")
	})
}

func TestEachWaitingReceiverGetsAMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mustSubscribe(t, newFakeHub(t, &fake{reply: confirm}, Config{}), Channel, "c")
		got := make(chan Message)
		for range 3 {
			go func() {
				msg, _ := s.Receive(context.Background())
				got <- msg
			}()
		}
		synctest.Wait()
		s.mu.Lock()
		for range 3 {
			s.buf.push(&Message{})
		}
		s.signal()
		s.mu.Unlock()
		for range 3 {
			<-got
		}
	})
}

func TestARefusedUnsubscriptionEndsDeliveryAllTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{reply: func(conn int, command []string) string {
			if command[0] == "UNSUBSCRIBE" {
				return "-NOPERM no\r\n"
			}
			return confirm(conn, command)
		}}
		h := newFakeHub(t, f, Config{})
		s := mustSubscribe(t, h, Channel, "c", "d")
		if err := s.Remove("c"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		f.send(t, frame("message", "c", "no")+frame("message", "d", "x"))
		wantMessages(t, s, "d x")
		if err := s.Add(testContext(t), "c"); err != nil {
			t.Fatal(err)
		}
		f.send(t, frame("message", "c", "y"))
		wantMessages(t, s, "c y")
	})
}

// TestAGapIsHeldBackUntilAllIsConfirmed subscribes to one name more than fits
// into a command: the others may bring messages before it is confirmed.
func TestAGapIsHeldBackUntilAllIsConfirmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		withheld := make(chan string, 1)
		f := &fake{reply: func(conn int, command []string) string {
			if conn == 2 && command[0] == "SUBSCRIBE" && len(command) == 2 {
				withheld <- confirm(conn, command)
				return ""
			}
			return confirm(conn, command)
		}}
		h := newFakeHub(t, f, Config{})
		names := make([]string, batch+1)
		for i := range names {
			names[i] = "c" + strconv.Itoa(i)
		}
		s := mustSubscribe(t, h, Channel, names...)
		f.send(t, frame("message", "c0", "old")+"+cut\r\n")
		wantMessages(t, s, "c0 old")

		late := <-withheld
		early := "c0"
		if strings.Contains(late, "\r\nc0\r\n") {
			early = "c1"
		}
		f.send(t, frame("message", early, "early"))
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
		defer cancel()
		if msg, err := s.Receive(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("received %q, %v before all was confirmed: want nothing", text(msg), err)
		}
		f.send(t, late)
		wantMessages(t, s, "gap(reconnected, -1)", early+" early")
	})
}

func TestPingsAreAnsweredBetweenMessages(t *testing.T) {
	eachProtocol(t, redistest.Config{}, func(t *testing.T, srv *redistest.Server, protocol int) {
		h := newHub(t, srv, setup{protocol: protocol, hub: Config{HealthCheck: time.Second}}) // a ping has as long to be answered
		s := mustSubscribe(t, h, Channel, "c")
		srv.Do("CONFIG", "RESETSTAT")
		pings := func() int {
			stat := srv.Info("commandstats")["cmdstat_ping"]
			calls, _, _ := strings.Cut(strings.TrimPrefix(stat, "calls="), ",")
			n, _ := strconv.Atoi(calls)
			return n
		}
		srv.Do("PUBLISH", "c", "1")
		testkit.Await(t, "two PINGs", pings, testkit.AtLeast(2))
		srv.Do("PUBLISH", "c", "2")
		wantMessages(t, s, "c 1", "c 2")
	})
}

// FuzzFrames takes any frame in, in any state, and must not panic.
func FuzzFrames(f *testing.F) {
	f.Add([]byte(frame("message", "c", "x")))
	f.Add([]byte(frame("pmessage", "c", "x", "y")))
	f.Add([]byte(frame("subscribe", "d", "1")))
	f.Add([]byte(frame("unsubscribe", "c", "1")))
	f.Add([]byte(frame("sunsubscribe", "c", "1")))
	f.Add([]byte(">2\r\n+pong\r\n$-1\r\n"))
	f.Add([]byte("-NOPERM no\r\n+PONG\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		h := New(pool.New(pool.Config{}), Config{Buffer: 4})
		defer h.Close(context.Background())
		s := &session{}
		h.session, h.running = s, true
		for k := range kinds {
			h.joinLocked(newSubscription(h, k), "c", &call{done: make(chan struct{})})
		}
		h.commandsLocked(s)
		for len(b) > 0 {
			n, err := resp.FrameLen(b)
			if err != nil {
				return
			}
			if h.handleLocked(s, b[:n:n]) != nil {
				return
			}
			b = b[n:]
		}
	})
}
