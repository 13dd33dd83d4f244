package pubsub

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/seed-2b0d76a6/respool/internal/pool"
	"github.com/seed-2b0d76a6/respool/internal/testkit/fakeserver"
)

// record is a Listener that keeps what it receives.
type record struct {
	mu     sync.Mutex
	events []string
}

func (r *record) note(event string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, event)
}

func (r *record) Deliver(_ Kind, topic string, channel, payload []byte) {
	r.note(topic + " " + string(channel) + " " + string(payload))
}
func (r *record) Lost() { r.note("lost") }
func (r *record) Refused(_ Kind, topic string, err error) {
	r.note("refused " + topic + ": " + err.Error())
}

func (r *record) want(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.Equal(r.events, want) {
		t.Errorf("the listener received %q: want %q", r.events, want)
	}
	r.events = nil
}

// A listener loses the topics that the server refuses after a reconnect, and keeps the others.
func TestAListenerLosesOnlyTheTopicThatIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, func(c *fakeserver.Conn, command []string) (string, bool) {
			if c.ID > 1 && command[0] == "SUBSCRIBE" && slices.Contains(command, "secret") {
				return "-NOPERM no access to one of the channels\r\n", true
			}
			return "", false
		})
		h := newFakeHub(t, f, Config{})
		heard := &record{}
		l := h.Listen(heard)
		defer l.Close()
		if err := l.Add(t.Context(), Channel, nil); err != nil {
			t.Errorf("Add without names: %v", err)
		}
		if err := l.Add(t.Context(), Channel, []string{"c", "secret"}); err != nil {
			t.Fatal(err)
		}
		send(t, f, frame("message", "secret", "x"))
		heard.want(t, "secret secret x")
		f.CloseConns()
		// A second subscription waits until the first connection is replaced.
		mustSubscribe(t, h, Channel, "d")
		heard.want(t, "lost", "lost", "refused secret: NOPERM no access to one of the channels")
		send(t, f, frame("message", "secret", "x")+frame("message", "c", "x"))
		heard.want(t, "c c x")
		f.CloseConns()
		mustSubscribe(t, h, Channel, "e")
		heard.want(t, "lost") // and no topic is refused again
	})
}

func TestAClosedListeningTakesNoTopics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFakeHub(t, newFake(t, nil), Config{})
		l, other := h.Listen(&record{}), h.Listen(&record{})
		if err := l.Add(t.Context(), Channel, []string{"c"}); err != nil {
			t.Fatal(err)
		}
		l.Close()
		if err := l.Add(t.Context(), Channel, []string{"c"}); !errors.Is(err, ErrClosed) {
			t.Errorf("Add after Close: %v: want %v", err, ErrClosed)
		}
		l.Leave(t.Context(), Channel, "c")
		h.Close(t.Context())
		if err := other.Add(t.Context(), Channel, []string{"c"}); !errors.Is(err, pool.ErrClosed) {
			t.Errorf("Add after the hub's Close: %v: want %v", err, pool.ErrClosed)
		}
	})
}
