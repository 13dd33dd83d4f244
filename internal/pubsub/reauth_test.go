package pubsub

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/seed-2b0d76a6/respool/internal/testkit/fakeserver"
	"github.com/seed-2b0d76a6/respool/internal/wire"
	"github.com/seed-2b0d76a6/respool/resp"
)

// silence makes a fake server keep the replies to some commands back.
type silence struct {
	mu       sync.Mutex
	names    []string
	received []string // commands since keep was called first
}

func (s *silence) answer(_ *fakeserver.Conn, command []string) (string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.names == nil {
		return "", false
	}
	s.received = append(s.received, command[0])
	return "", slices.Contains(s.names, command[0])
}

// keep keeps the replies to these commands back from now on.
func (s *silence) keep(names ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.names = names
}

func (s *silence) want(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Equal(s.received, want) {
		t.Errorf("the server received %v: want %v", s.received, want)
	}
}

func always(*wire.Conn) bool { return true }

// reauthenticate returns the outcome of Reauthenticate on the only connection of a hub.
func reauthenticate(ctx context.Context, h *Hub, due func(*wire.Conn) bool, args ...any) (*wire.Conn, error) {
	for _, out := range h.Reauthenticate(ctx, due, args) {
		return out.Conn, out.Err
	}
	return nil, nil
}

// renew calls Reauthenticate on a new goroutine.
func renew(ctx context.Context, h *Hub) chan error {
	done := make(chan error, 1)
	go func() {
		conn, err := reauthenticate(ctx, h, always, "AUTH", "secret")
		if err == nil && conn == nil {
			err = errors.New("no connection was authenticated")
		}
		done <- err
	}()
	synctest.Wait()
	return done
}

func subscribeLater(h *Hub, name string) chan error {
	done := make(chan error, 1)
	go func() {
		_, err := h.Subscribe(context.Background(), Channel, []string{name})
		done <- err
	}()
	synctest.Wait()
	return done
}

// onHub runs a test with a hub in RESP3 that has a connection with a subscription to c.
func onHub(t *testing.T, test func(t *testing.T, f *fakeserver.Server, quiet *silence, h *Hub)) {
	synctest.Test(t, func(t *testing.T) {
		quiet := &silence{}
		f := newFake(t, quiet.answer)
		h := newHubAt(t, &wire.Config{Addr: "fake", Protocol: 3, DialFunc: f.Dial}, setup{})
		mustSubscribe(t, h, Channel, "c")
		test(t, f, quiet, h)
	})
}

func TestAuthIsAloneOnTheConnection(t *testing.T) {
	onHub(t, func(t *testing.T, f *fakeserver.Server, quiet *silence, h *Hub) {
		quiet.keep("SUBSCRIBE", "AUTH")
		before := subscribeLater(h, "before")
		renewed := renew(t.Context(), h)
		quiet.want(t, "SUBSCRIBE")
		behind := subscribeLater(h, "behind")
		send(t, f, ">3\r\n$9\r\nsubscribe\r\n$6\r\nbefore\r\n:2\r\n")
		if err := <-before; err != nil {
			t.Error(err)
		}
		quiet.want(t, "SUBSCRIBE", "AUTH")
		if _, err := reauthenticate(t.Context(), h, always, "AUTH", "other"); !errors.Is(err, errUnanswered) {
			t.Errorf("during another AUTH: %v: want %v", err, errUnanswered)
		}
		quiet.keep("none")
		send(t, f, "+OK\r\n")
		if err := <-renewed; err != nil {
			t.Errorf("AUTH: %v", err)
		}
		if err := <-behind; err != nil {
			t.Error(err)
		}
		quiet.want(t, "SUBSCRIBE", "AUTH", "SUBSCRIBE")
	})
}

func TestARefusedAuthKeepsTheSubscriptions(t *testing.T) {
	onHub(t, func(t *testing.T, f *fakeserver.Server, quiet *silence, h *Hub) {
		quiet.keep("AUTH")
		renewed := renew(t.Context(), h)
		send(t, f, "-WRONGPASS invalid password\r\n")
		if err := <-renewed; !errors.Is(err, &resp.ServerError{Code: "WRONGPASS"}) {
			t.Errorf("AUTH: %v: want WRONGPASS", err)
		}
		if err := <-subscribeLater(h, "d"); err != nil {
			t.Error(err)
		}
		if n := f.Accepted(); n != 1 {
			t.Errorf("%d connections were made: want 1", n)
		}
	})
}

func TestAuthEndsWithItsContextOrConnection(t *testing.T) {
	onHub(t, func(t *testing.T, f *fakeserver.Server, quiet *silence, h *Hub) {
		quiet.keep("SUBSCRIBE", "AUTH")
		before := subscribeLater(h, "before")
		ctx, cancel := context.WithCancel(t.Context())
		renewed := renew(ctx, h)
		cancel()
		if err := <-renewed; !errors.Is(err, context.Canceled) {
			t.Errorf("AUTH that was not sent: %v: want %v", err, context.Canceled)
		}
		send(t, f, ">3\r\n$9\r\nsubscribe\r\n$6\r\nbefore\r\n:2\r\n")
		if err := <-before; err != nil {
			t.Error(err)
		}
		quiet.want(t, "SUBSCRIBE") // and no AUTH

		ctx, cancel = context.WithCancel(t.Context())
		renewed = renew(ctx, h)
		cancel()
		if err := <-renewed; !errors.Is(err, context.Canceled) {
			t.Errorf("AUTH without a reply: %v: want %v", err, context.Canceled)
		}
		behind := subscribeLater(h, "behind")
		quiet.want(t, "SUBSCRIBE", "AUTH")
		quiet.keep("AUTH")
		send(t, f, "+OK\r\n") // the reply to AUTH
		if err := <-behind; err != nil {
			t.Error(err)
		}

		renewed = renew(t.Context(), h)
		f.CloseConns()
		if err := <-renewed; !errors.Is(err, errLost) {
			t.Errorf("AUTH on a lost connection: %v: want %v", err, errLost)
		}
	})
}

func TestAuthThatIsNotDueSendsNothing(t *testing.T) {
	onHub(t, func(t *testing.T, f *fakeserver.Server, quiet *silence, h *Hub) {
		quiet.keep("AUTH")
		never := func(*wire.Conn) bool { return false }
		if conn, err := reauthenticate(t.Context(), h, never, "AUTH", "secret"); conn != nil || err != nil {
			t.Errorf("not due: %v, %v", conn, err)
		}
		if _, err := reauthenticate(t.Context(), h, always, "AUTH", struct{}{}); err == nil {
			t.Error("AUTH with a struct as its argument succeeded")
		}
		other := newHubAt(t, &wire.Config{Addr: "fake", Protocol: 3, DialFunc: f.Dial}, setup{})
		if conn, err := reauthenticate(t.Context(), other, always, "AUTH", "secret"); conn != nil || err != nil {
			t.Errorf("without a connection: %v, %v", conn, err)
		}
		quiet.want(t)
	})
}
