package pubsub

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/pool"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/fakeserver"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
	"github.com/seed-2b0d76a6/respool/internal/wire"
	"github.com/seed-2b0d76a6/respool/resp"
)

// newFake starts a server in memory. reply returns a reply in place of the server's own one, as
// fakeserver.Config.Answer does; nil leaves all of them to the server.
func newFake(t *testing.T, reply func(c *fakeserver.Conn, command []string) (string, bool)) *fakeserver.Server {
	return fakeserver.Start(t, fakeserver.Config{Memory: true, Answer: reply})
}

// newFakeHub makes a hub on connections to f.
func newFakeHub(t *testing.T, f *fakeserver.Server, cfg Config) *Hub {
	return newHubAt(t, &wire.Config{Addr: "fake", Protocol: 2, DialFunc: f.Dial}, setup{hub: cfg})
}

// send sends text on the connection made last.
func send(t *testing.T, f *fakeserver.Server, text string) {
	t.Helper()
	if err := f.SendLast(text); err != nil {
		t.Fatalf("send %q: %v", text, err)
	}
}

// frame is an array of strings and numbers.
func frame(parts ...string) string {
	var elems []string
	for _, p := range parts {
		if n, err := strconv.Atoi(p); err == nil {
			elems = append(elems, fakeserver.Int(n))
			continue
		}
		elems = append(elems, fakeserver.Bulk(p))
	}
	return fakeserver.Array(elems...)
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
				f := newFake(t, func(c *fakeserver.Conn, command []string) (string, bool) {
					mu.Lock()
					defer mu.Unlock()
					if silent && c.ID == 1 {
						return "", true
					}
					return "", false
				})
				h := newFakeHub(t, f, cfg)
				s := mustSubscribe(t, h, Channel, "c")
				time.Sleep(time.Hour)
				if n := f.Accepted(); n != 1 {
					t.Fatalf("%d connections were made while the server answered: want 1", n)
				}
				mu.Lock()
				silent = true
				mu.Unlock()
				if msg, err := s.Receive(context.Background()); err != nil || text(msg) != "gap(reconnected, -1)" {
					t.Fatalf("Receive: %v, %v: want a gap", text(msg), err)
				}
				send(t, f, frame("message", "c", "x"))
				wantMessages(t, s, "c x")
			})
		})
	}
}

func TestAServerThatDoesNotConfirmIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, func(c *fakeserver.Conn, command []string) (string, bool) {
			if c.ID == 1 && command[0] == "SUBSCRIBE" {
				return "", true
			}
			return "", false
		})
		h := newFakeHub(t, f, Config{StallLimit: time.Second})
		s := mustSubscribe(t, h, Channel, "c")
		send(t, f, frame("message", "c", "x"))
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
				f := newFake(t, nil)
				h := newFakeHub(t, f, Config{})
				s := mustSubscribe(t, h, Channel, "c")
				send(t, f, bytes+frame("message", "c", "dropped"))
				wantMessages(t, s, "gap(reconnected, -1)")
				if n := f.Accepted(); n != 2 {
					t.Errorf("%d connections were made: want 2", n)
				}
				send(t, f, frame("message", "c", "x"))
				wantMessages(t, s, "c x")
			})
		})
	}
}

func TestOtherPushesAreIgnored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, nil)
		h := newFakeHub(t, f, Config{})
		s := mustSubscribe(t, h, Channel, "c")
		send(t, f, ">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n")
		send(t, f, ">4\r\n$5\r\nother\r\n*1\r\n:1\r\n%1\r\n:1\r\n:2\r\n+x\r\n")
		send(t, f, frame("message", "unknown", "x"))
		send(t, f, frame("message", "c", "x"))
		wantMessages(t, s, "c x")
	})
}

func TestAShardChannelThatMovedIsSubscribedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, nil)
		h := newFakeHub(t, f, Config{})
		s := mustSubscribe(t, h, Shard, "s", "t")
		other := mustSubscribe(t, h, Shard, "t")
		send(t, f, frame("smessage", "s", "before"))
		// One write: the confirmation of the new SSUBSCRIBE follows both.
		send(t, f, frame("sunsubscribe", "s", "0")+frame("sunsubscribe", "s", "0"))
		wantMessages(t, s, "s before", "gap(reconnected, -1)")
		send(t, f, frame("smessage", "s", "after")+frame("smessage", "t", "end"))
		wantMessages(t, s, "s after", "t end")
		wantMessages(t, other, "t end")
		if n := f.Accepted(); n != 1 {
			t.Errorf("%d connections were made: want 1", n)
		}
	})
}

func TestARefusalOfTheMomentDoesNotEndASubscription(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, func(c *fakeserver.Conn, command []string) (string, bool) {
			if command[0] != "PING" && (c.ID > 1 && c.ID < 10 || command[1] == "busy") {
				return "-BUSY a script is running\r\n", true
			}
			return "", false
		})
		h := newFakeHub(t, f, Config{})
		s := mustSubscribe(t, h, Channel, "c", "d")
		if err := s.Add(context.Background(), "busy"); !errors.Is(err, &resp.ServerError{Code: "BUSY"}) {
			t.Errorf("Add: %v: want BUSY", err)
		}
		send(t, f, "+cut\r\n")
		wantMessages(t, s, "gap(reconnected, -1)")
		if n := f.Accepted(); n != 10 {
			t.Errorf("%d connections were made: want 10", n)
		}
		send(t, f, frame("message", "d", "x"))
		wantMessages(t, s, "d x")
	})
}

func TestARefusedPingIsAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, func(c *fakeserver.Conn, command []string) (string, bool) {
			if command[0] == "PING" {
				return "-NOPERM no\r\n", true
			}
			return "", false
		})
		h := newFakeHub(t, f, Config{HealthCheck: time.Second})
		mustSubscribe(t, h, Channel, "c")
		time.Sleep(time.Hour)
		if n := f.Accepted(); n != 1 {
			t.Errorf("%d connections were made: want 1", n)
		}
	})
}

func TestRemoveEndsAnAddThatWaitsForTheName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, func(c *fakeserver.Conn, command []string) (string, bool) {
			if command[0] == "SUBSCRIBE" && command[1] == "late" {
				return "", true
			}
			return "", false
		})
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
		f := newFake(t, func(c *fakeserver.Conn, command []string) (string, bool) {
			if command[0] == "SUBSCRIBE" && command[1] == "late" {
				withheld <- c.Reply(command)
				return "", true
			}
			return "", false
		})
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
		send(t, f, <-withheld)
		if err := <-kept; err != nil {
			t.Errorf("Add: %v", err)
		}
		send(t, f, frame("message", "late", "x")+frame("message", "c", "y"))
		wantMessages(t, s, "late x", "c y")
	})
}

func TestEachWaitingReceiverGetsAMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mustSubscribe(t, newFakeHub(t, newFake(t, nil), Config{}), Channel, "c")
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
			s.buf.push(&Message{}, false)
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
		f := newFake(t, func(c *fakeserver.Conn, command []string) (string, bool) {
			if command[0] == "UNSUBSCRIBE" {
				return "-NOPERM no\r\n", true
			}
			return "", false
		})
		h := newFakeHub(t, f, Config{})
		s := mustSubscribe(t, h, Channel, "c", "d")
		if err := s.Remove("c"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		send(t, f, frame("message", "c", "no")+frame("message", "d", "x"))
		wantMessages(t, s, "d x")
		if err := s.Add(testContext(t), "c"); err != nil {
			t.Fatal(err)
		}
		send(t, f, frame("message", "c", "y"))
		wantMessages(t, s, "c y")
	})
}

// TestAGapIsHeldBackUntilAllIsConfirmed subscribes to one name more than fits
// into a command: the others may bring messages before it is confirmed.
func TestAGapIsHeldBackUntilAllIsConfirmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		withheld := make(chan string, 1)
		f := newFake(t, func(c *fakeserver.Conn, command []string) (string, bool) {
			if c.ID == 2 && command[0] == "SUBSCRIBE" && len(command) == 2 {
				withheld <- c.Reply(command)
				return "", true
			}
			return "", false
		})
		h := newFakeHub(t, f, Config{})
		names := make([]string, batch+1)
		for i := range names {
			names[i] = "c" + strconv.Itoa(i)
		}
		s := mustSubscribe(t, h, Channel, names...)
		send(t, f, frame("message", "c0", "old")+"+cut\r\n")
		wantMessages(t, s, "c0 old")

		late := <-withheld
		synctest.Wait() // the other names are confirmed: a server sends no message of a name before
		early := "c0"
		if strings.Contains(late, "\r\nc0\r\n") {
			early = "c1"
		}
		send(t, f, frame("message", early, "early"))
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
		defer cancel()
		if msg, err := s.Receive(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("received %q, %v before all was confirmed: want nothing", text(msg), err)
		}
		send(t, f, late)
		wantMessages(t, s, "gap(reconnected, -1)", early+" early")
	})
}

func TestPingsAreAnsweredBetweenMessages(t *testing.T) {
	checked := setup{hub: Config{HealthCheck: time.Second}} // also the limit for the reply to a ping
	eachProtocol(t, redistest.Config{}, checked, func(t *testing.T, srv *redistest.Server, h *Hub) {
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
		s := fakeSession(h)
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
