package discovery

import (
	"context"
	"errors"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/testkit/fakeserver"
	"github.com/seed-2b0d76a6/respool/internal/topology/sentinel"
	"github.com/seed-2b0d76a6/respool/resp"
)

// manual stops the automatic replies of a sentinel. It returns the names of the commands that the sentinel has received.
func manual(w *world) (received func() []string) {
	var names []string
	w.change(func() {
		w.sentinels[addrs[0]].answer = func(args []string) (string, bool) {
			names = append(names, args[0])
			return "", true
		}
	})
	return func() (all []string) {
		synctest.Wait()
		w.change(func() { all = slices.Clone(names) })
		return all
	}
}

// write sends bytes to all clients.
func (f *fake) write(text string) {
	var conns []*fakeserver.Conn
	f.w.change(func() { conns = slices.Collect(maps.Keys(f.conns)) })
	for _, c := range conns {
		c.Write(text)
	}
}

// open connects a service, and returns its link's connection.
func (h *hand) open(t *testing.T, kind sentinel.Link) (open Conn) {
	t.Helper()
	h.connect(kind)
	time.Sleep(time.Second)
	h.events()
	h.s.Each(func(c Conn) { open = c })
	if open == nil {
		t.Fatal("no connection is open")
	}
	return open
}

// auth calls Reauthenticate on a goroutine of its own.
func auth(ctx context.Context, s *Sentinels, conn Conn) chan error {
	done := make(chan error, 1)
	go func() { done <- s.Reauthenticate(ctx, conn, []any{"AUTH", "secret"}) }()
	synctest.Wait()
	return done
}

func wantReceived(t *testing.T, received func() []string, want ...string) {
	t.Helper()
	if got := received(); !slices.Equal(got, want) {
		t.Errorf("the sentinel received %v: want %v", got, want)
	}
}

func answers(events []sentinel.Event) map[uint64]string {
	got := map[uint64]string{}
	for _, e := range events {
		if e, ok := e.(sentinel.Answer); ok {
			got[e.Seq] = string(e.Reply.Str)
		}
	}
	return got
}

func TestAuthIsAloneOnAConnection(t *testing.T) {
	byHand(t, func(t *testing.T, w *world, s *Sentinels) {
		f, received := w.sentinels[addrs[0]], manual(w)
		h := s.hand()
		conn := h.open(t, sentinel.Command)
		h.ask(100, "FIRST")
		done := auth(t.Context(), s, conn)
		wantReceived(t, received, "FIRST")
		f.write("+1\r\n")
		wantReceived(t, received, "FIRST", "AUTH")
		h.ask(101, "SECOND")
		wantReceived(t, received, "FIRST", "AUTH")
		if err := s.Reauthenticate(t.Context(), conn, []any{"AUTH", "other"}); !errors.Is(err, errUnanswered) {
			t.Errorf("during another AUTH: %v: want %v", err, errUnanswered)
		}
		f.write("+OK\r\n")
		if err := <-done; err != nil {
			t.Errorf("AUTH: %v", err)
		}
		wantReceived(t, received, "FIRST", "AUTH", "SECOND")
		f.write("+2\r\n")
		if got := answers(h.events()); len(got) != 2 || got[100] != "1" || got[101] != "2" {
			t.Errorf("the replies are %v", got)
		}
		h.disconnect(sentinel.Command)
	})
}

func TestARefusedAuthKeepsTheConnection(t *testing.T) {
	byHand(t, func(t *testing.T, w *world, s *Sentinels) {
		f, received := w.sentinels[addrs[0]], manual(w)
		h := s.hand()
		conn := h.open(t, sentinel.Command)
		done := auth(t.Context(), s, conn)
		f.write("-WRONGPASS invalid password\r\n")
		if err := <-done; !errors.Is(err, &resp.ServerError{Code: "WRONGPASS"}) {
			t.Errorf("AUTH: %v: want WRONGPASS", err)
		}
		h.ask(100, "PING")
		wantReceived(t, received, "AUTH", "PING")
		f.write("+PONG\r\n")
		if got := answers(h.events()); got[100] != "PONG" {
			t.Errorf("the replies are %v", got)
		}
		h.disconnect(sentinel.Command)
	})
}

// An AUTH that waits for an earlier reply is not sent after its context has ended.
func TestAuthEndsWithItsContext(t *testing.T) {
	byHand(t, func(t *testing.T, w *world, s *Sentinels) {
		f, received := w.sentinels[addrs[0]], manual(w)
		h := s.hand()
		conn := h.open(t, sentinel.Command)
		h.ask(100, "FIRST")
		ctx, cancel := context.WithCancel(t.Context())
		done := auth(ctx, s, conn)
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("AUTH that was not sent: %v: want %v", err, context.Canceled)
		}
		f.write("+1\r\n")
		wantReceived(t, received, "FIRST")

		ctx, cancel = context.WithCancel(t.Context())
		done = auth(ctx, s, conn)
		wantReceived(t, received, "FIRST", "AUTH")
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("AUTH without a reply: %v: want %v", err, context.Canceled)
		}
		h.ask(101, "SECOND")
		f.write("+OK\r\n") // the reply to AUTH is not the reply to SECOND
		wantReceived(t, received, "FIRST", "AUTH", "SECOND")
		f.write("+2\r\n")
		if got := answers(h.events()); len(got) != 2 || got[101] != "2" {
			t.Errorf("the replies are %v", got)
		}
		h.disconnect(sentinel.Command)
	})
}

func TestAuthFailsWithoutItsConnection(t *testing.T) {
	byHand(t, func(t *testing.T, w *world, s *Sentinels) {
		received := manual(w)
		h := s.hand()
		conn := h.open(t, sentinel.Command)
		if err := s.Reauthenticate(t.Context(), conn, []any{"AUTH", struct{}{}}); err == nil {
			t.Error("AUTH with a struct as its argument succeeded")
		}
		wantReceived(t, received)
		done := auth(t.Context(), s, conn)
		wantReceived(t, received, "AUTH")
		s.Redial(conn)
		if err := <-done; !errors.Is(err, errNotOpen) {
			t.Errorf("AUTH on a connection that closes: %v: want %v", err, errNotOpen)
		}
		if err := h.down(); !errors.Is(err, errRedialed) {
			t.Errorf("the connection ended with %v: want %v", err, errRedialed)
		}
		if err := s.Reauthenticate(t.Context(), conn, []any{"AUTH", "secret"}); !errors.Is(err, errNotOpen) {
			t.Errorf("AUTH on a closed connection: %v: want %v", err, errNotOpen)
		}
		s.Redial(conn) // again: nothing is left to close
	})
}

// A subscription in RESP3 takes AUTH between its pushes. One in RESP2 is replaced.
func TestAuthOnASubscription(t *testing.T) {
	for _, protocol := range []int{2, 3} {
		byHand(t, func(t *testing.T, w *world, s *Sentinels) {
			f := w.sentinels[addrs[0]]
			w.change(func() { f.protocol = protocol })
			h := s.hand()
			conn := h.open(t, sentinel.Subscription)
			h.subscribe()
			h.events()
			received := manual(w)
			done := auth(t.Context(), s, conn)
			if protocol == 2 {
				if err := <-done; err != nil {
					t.Errorf("RESP2: %v", err)
				}
				if err := h.down(); !errors.Is(err, errRedialed) {
					t.Errorf("RESP2: the subscription ended with %v: want %v", err, errRedialed)
				}
				wantReceived(t, received)
				return
			}
			wantReceived(t, received, "AUTH")
			f.publish("+sdown", "news")
			f.write("+OK\r\n")
			if err := <-done; err != nil {
				t.Errorf("RESP3: %v", err)
			}
			want := sentinel.Push{Sentinel: addrs[0], Channel: "+sdown", Payload: "news"}
			if events := h.events(); len(events) != 1 || events[0] != want {
				t.Errorf("RESP3: got %v: want %v", events, want)
			}
			h.disconnect(sentinel.Subscription)
		})
	}
}

func TestAQueryWithoutAConnectionFails(t *testing.T) {
	byHand(t, func(t *testing.T, w *world, s *Sentinels) {
		h := s.hand()
		h.ask(100, "PING")
		events := h.events()
		if len(events) != 1 {
			t.Fatalf("got %v", events)
		}
		if a, ok := events[0].(sentinel.Answer); !ok || a.Seq != 100 || !errors.Is(a.Err, errClosedBy) {
			t.Errorf("got %v", events[0])
		}
	})
}
