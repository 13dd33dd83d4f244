package discovery

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/topology/sentinel"
	"github.com/seed-2b0d76a6/respool/resp"
)

// hand is a service whose machine does not run: a test acts in its place.
type hand struct {
	*Service
	seq uint64
}

func (s *Sentinels) hand() *hand { return &hand{Service: newService(s, config(), &nodes{})} }

func (h *hand) connect(kind sentinel.Link) {
	h.seq++
	h.s.connect(h.Service, sentinel.Connect{Seq: h.seq, Sentinel: addrs[0], Link: kind})
}

func (h *hand) disconnect(kind sentinel.Link) {
	h.s.disconnect(h.Service, sentinel.Disconnect{Seq: h.seq, Sentinel: addrs[0], Link: kind})
}

func (h *hand) ask(seq uint64, args ...any) {
	h.s.ask(h.Service, sentinel.Ask{Seq: seq, Sentinel: addrs[0], Args: args})
}

func (h *hand) subscribe() {
	h.s.subscribe(h.Service, sentinel.Subscribe{Seq: h.seq, Sentinel: addrs[0], Channels: []string{"+sdown", "-sdown"}})
}

// events gives what has come when nothing more happens at this moment.
func (h *hand) events() []sentinel.Event {
	synctest.Wait()
	events, _ := h.take()
	return events
}

// down gives the error of the SentinelDown among what has come, or nil.
func (h *hand) down() error {
	for _, e := range h.events() {
		if e, ok := e.(sentinel.SentinelDown); ok {
			return e.Err
		}
	}
	return nil
}

// byHand runs fn with one sentinel, and closes all that it left open.
func byHand(t *testing.T, fn func(t *testing.T, w *world, s *Sentinels)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, addrs[0])
		s := w.set()
		fn(t, w, s)
		w.checkPeaks(t)
		closeAll(t, s, w)
	})
}

func TestAnswersGoToThoseWhoAsked(t *testing.T) {
	byHand(t, func(t *testing.T, w *world, s *Sentinels) {
		w.sentinels[addrs[0]].answer = func(args []string) (string, bool) { return "+" + args[1] + "\r\n", true }
		hands := []*hand{s.hand(), s.hand(), s.hand()}
		for _, h := range hands {
			h.connect(sentinel.Command)
		}
		time.Sleep(time.Second)
		for i := range 30 {
			hands[i%3].ask(uint64(100+i), "SENTINEL", fmt.Sprint(100+i))
		}
		for i, h := range hands {
			answers := 0
			for _, e := range h.events() {
				if e, ok := e.(sentinel.Answer); ok {
					if answers++; string(e.Reply.Str) != fmt.Sprint(e.Seq) || int(e.Seq-100)%3 != i {
						t.Errorf("service %d: query %d was answered %q", i, e.Seq, e.Reply.Str)
					}
				}
			}
			if answers != 10 {
				t.Errorf("service %d got %d answers: want 10", i, answers)
			}
			h.disconnect(sentinel.Command)
		}
	})
}

// What is still to come on the socket would be taken for somebody else's answer.
func TestALinkIsClosedForAllWhenOneLeavesAQueryBehind(t *testing.T) {
	byHand(t, func(t *testing.T, w *world, s *Sentinels) {
		w.sentinels[addrs[0]].deaf = true
		one, other := s.hand(), s.hand()
		one.connect(sentinel.Command)
		other.connect(sentinel.Command)
		time.Sleep(time.Second)
		one.ask(100, "PING")
		other.ask(101, "PING")
		other.events()
		one.disconnect(sentinel.Command)
		if err := other.down(); !errors.Is(err, errBroken) {
			t.Errorf("the other one was told %v", err)
		}
	})
}

func TestALinkStaysForTheOthersWhenOneLeaves(t *testing.T) {
	byHand(t, func(t *testing.T, w *world, s *Sentinels) {
		one, other := s.hand(), s.hand()
		one.connect(sentinel.Command)
		other.connect(sentinel.Command)
		time.Sleep(time.Second)
		other.ask(101, "PING")
		one.disconnect(sentinel.Command)
		events := other.events()
		if !slices.ContainsFunc(events, func(e sentinel.Event) bool { a, ok := e.(sentinel.Answer); return ok && a.Seq == 101 }) {
			t.Errorf("got %v", events)
		}
		other.disconnect(sentinel.Command)
	})
}

// A link that was wanted, given up and wanted again while the old socket closes
// is dialed when that is done.
func TestALinkThatWasGivenUpBeforeItsTurnIsDialedForTheNext(t *testing.T) {
	byHand(t, func(t *testing.T, w *world, s *Sentinels) {
		w.sentinels[addrs[0]].slowClose = 3 * time.Second
		h := s.hand()
		for range 3 {
			h.connect(sentinel.Command)
			time.Sleep(time.Millisecond * 100)
			h.disconnect(sentinel.Command)
		}
		h.events()
		h.connect(sentinel.Command)
		time.Sleep(5 * time.Second)
		if events := h.events(); len(events) != 1 || events[0] != (sentinel.SentinelUp{Seq: h.seq}) {
			t.Errorf("got %v", events)
		}
		w.change(func() {
			if n := w.sentinels[addrs[0]].total; n != 2 {
				t.Errorf("%d connections were made: want 2", n)
			}
		})
		h.disconnect(sentinel.Command)
	})
}

func TestASubscriptionIsMadeOnceForAll(t *testing.T) {
	for _, protocol := range []int{2, 3} {
		byHand(t, func(t *testing.T, w *world, s *Sentinels) {
			f := w.sentinels[addrs[0]]
			f.protocol = protocol
			one, other := s.hand(), s.hand()
			for _, h := range []*hand{one, other} {
				h.connect(sentinel.Subscription)
				time.Sleep(time.Second)
				h.subscribe()
				h.events()
			}
			f.publish("+sdown", "news")
			for _, h := range []*hand{one, other} {
				want := sentinel.Push{Sentinel: addrs[0], Channel: "+sdown", Payload: "news"}
				if events := h.events(); len(events) != 1 || events[0] != want {
					t.Errorf("RESP%d: got %v", protocol, events)
				}
				h.disconnect(sentinel.Subscription)
			}
			w.change(func() {
				if n := f.commands["SUBSCRIBE +sdown"]; n != 1 {
					t.Errorf("subscribed %d times", n)
				}
			})
		})
	}
}

func TestALinkEndsWithTheReason(t *testing.T) {
	protocol := func(err error) bool { var p *resp.ProtocolError; return errors.As(err, &p) }
	for answer, is := range map[string]func(error) bool{
		"hello\r\n":               protocol,
		"*1\r\n$-7\r\n":           protocol,
		"$99999999\r\n":           func(err error) bool { return errors.Is(err, resp.ErrTooLarge) },
		"-NOPERM no channels\r\n": func(err error) bool { return errors.Is(err, &resp.ServerError{Code: "NOPERM"}) },
	} {
		for _, kind := range []sentinel.Link{sentinel.Command, sentinel.Subscription} {
			if kind == sentinel.Command && strings.HasPrefix(answer, "-") {
				continue // an answer like any other
			}
			byHand(t, func(t *testing.T, w *world, s *Sentinels) {
				w.sentinels[addrs[0]].answer = func([]string) (string, bool) { return answer, true }
				h := s.hand()
				h.connect(kind)
				time.Sleep(time.Second)
				if kind == sentinel.Command {
					h.ask(100, "PING")
				} else {
					h.subscribe()
				}
				if err := h.down(); !is(err) {
					t.Errorf("%q on the %v link: it ended with %v", answer, kind, err)
				}
			})
		}
	}
}

// A sentinel that reads nothing blocks the writes of a subscription, pings included.
func TestASubscriptionThatTakesNothingIsGivenUp(t *testing.T) {
	byHand(t, func(t *testing.T, w *world, s *Sentinels) {
		f := w.sentinels[addrs[0]]
		f.halted = true
		h := s.hand()
		h.connect(sentinel.Subscription)
		time.Sleep(time.Second)
		h.subscribe()
		time.Sleep(20 * time.Second)
		if err := h.down(); !errors.Is(err, sentinel.ErrSilent) {
			t.Errorf("got %v", err)
		}
		w.change(func() { f.halted = false })
		time.Sleep(2 * time.Second)
	})
}

// By the fake clock, one that falls silent ends a query timeout after its next ping.
func TestASilentSubscriptionEndsAQueryTimeoutAfterAPing(t *testing.T) {
	for wait := range 10 {
		byHand(t, func(t *testing.T, w *world, s *Sentinels) {
			h := s.hand()
			h.connect(sentinel.Subscription)
			time.Sleep(time.Second)
			h.subscribe()
			time.Sleep(time.Minute + time.Duration(wait)*time.Second)
			if err := h.down(); err != nil {
				t.Fatalf("it ended while all was well: %v", err)
			}
			w.change(func() { w.sentinels[addrs[0]].deaf = true })
			time.Sleep(11*time.Second + time.Millisecond)
			if err := h.down(); !errors.Is(err, sentinel.ErrSilent) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// A check does not wait for the next ping, and a ping that was answered just before is no answer to it. One that is checked
// often has one ping due at a time.
func TestACheckedSubscriptionEndsWithinAQueryTimeoutIfItIsSilent(t *testing.T) {
	for _, deaf := range []bool{false, true} {
		byHand(t, func(t *testing.T, w *world, s *Sentinels) {
			f := w.sentinels[addrs[0]]
			h := s.hand()
			h.connect(sentinel.Subscription)
			time.Sleep(time.Second)
			h.subscribe()
			time.Sleep(5 * time.Second)
			check := sentinel.Check{Seq: h.seq, Sentinel: addrs[0]}
			s.check(check)
			time.Sleep(100 * time.Millisecond)
			pings := 0
			w.change(func() { f.deaf, pings = deaf, f.commands["PING"] })
			if pings != 1 {
				t.Errorf("%d pings before: want 1", pings)
			}
			for range 100 {
				s.check(check)
				time.Sleep(time.Millisecond)
			}
			w.change(func() {
				if n := f.commands["PING"] - pings; deaf && n != 1 {
					t.Errorf("%d pings: want 1", n)
				}
			})
			time.Sleep(900*time.Millisecond + time.Millisecond)
			if err := h.down(); errors.Is(err, sentinel.ErrSilent) != deaf {
				t.Errorf("deaf %t: it ended with %v", deaf, err)
			}
			h.disconnect(sentinel.Subscription)
		})
	}
}

func TestASubscriptionThatIsNotConfirmedIsGivenUp(t *testing.T) {
	for reply, want := range map[string]error{
		"": sentinel.ErrSilent,
		"*3\r\n$9\r\nsubscribe\r\n$6\r\n+sdown\r\n:1\r\n": errIgnored, // of one channel of two
	} {
		byHand(t, func(t *testing.T, w *world, s *Sentinels) {
			w.sentinels[addrs[0]].answer = func(args []string) (string, bool) { return reply, args[0] == "SUBSCRIBE" }
			h := s.hand()
			h.connect(sentinel.Subscription)
			time.Sleep(time.Second)
			h.subscribe()
			time.Sleep(time.Second + time.Millisecond)
			if err := h.down(); !errors.Is(err, want) {
				t.Errorf("got %v: want %v", err, want)
			}
		})
	}
}

// Servers before 3.0 refuse the PING of a subscriber.
func TestARefusedPingIsASignOfLife(t *testing.T) {
	byHand(t, func(t *testing.T, w *world, s *Sentinels) {
		w.sentinels[addrs[0]].answer = func(args []string) (string, bool) { return "-ERR only SUBSCRIBE\r\n", args[0] == "PING" }
		h := s.hand()
		h.connect(sentinel.Subscription)
		time.Sleep(time.Second)
		h.subscribe()
		time.Sleep(time.Minute)
		if err := h.down(); err != nil {
			t.Errorf("it ended: %v", err)
		}
		h.disconnect(sentinel.Subscription)
	})
}

// One that does not take pushes in is detached; the others are not harmed.
func TestAFloodOfPushesTakesLittleMemory(t *testing.T) {
	byHand(t, func(t *testing.T, w *world, s *Sentinels) {
		slow, other := s.hand(), s.hand()
		for _, h := range []*hand{slow, other} {
			h.connect(sentinel.Subscription)
			time.Sleep(time.Second)
			h.subscribe()
			h.events()
		}
		got := 0
		for range 3000 {
			w.sentinels[addrs[0]].publish("+sdown", strings.Repeat("x", 1000))
			got += len(other.events())
		}
		if got != 3000 {
			t.Errorf("the other one got %d pushes", got)
		}
		events := slow.events()
		if last, ok := events[len(events)-1].(sentinel.SentinelDown); !ok || !errors.Is(last.Err, errFlood) || len(events) > 1100 {
			t.Errorf("%d events were queued, the last is %v", len(events), events[len(events)-1])
		}
		slow.connect(sentinel.Subscription)
		if events := slow.events(); len(events) != 1 || events[0] != (sentinel.SentinelUp{Seq: slow.seq}) {
			t.Errorf("when it came back it got %v", events)
		}
	})
}

func TestCloseOfNothingCutsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		for range 100 {
			s := New(Config{})
			for range 2 {
				if err := s.Close(ctx); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}
