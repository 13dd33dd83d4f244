package pubsub

import (
	"context"
	"slices"

	"github.com/seed-2b0d76a6/respool/internal/pool"
)

// Listener receives messages as they arrive, without a buffer. The connection's reader goroutine or the hub's
// goroutine calls its methods with the Hub's lock held. They must neither block nor call the Hub.
type Listener interface {
	// Deliver receives a message of a topic. channel and payload are valid during the call.
	Deliver(kind Kind, topic string, channel, payload []byte)
	// Lost reports that messages may be missing because the connection was lost. The hub subscribes again. It is
	// called once for each topic.
	Lost()
	// Refused reports that the server refused to subscribe a topic again. The topic is not subscribed any more.
	Refused(kind Kind, topic string, err error)
}

// Listening is the set of a Listener's subscriptions, of all kinds. Its methods are safe for concurrent use, except
// that one Add or Leave must end before the next begins.
type Listening struct {
	hub *Hub
	l   Listener

	// Guarded by Hub.mu.
	subs   [kinds]*Subscription
	closed bool
}

// Listen returns a Listening without topics. The caller must close it.
func (h *Hub) Listen(l Listener) *Listening { return &Listening{hub: h, l: l} }

// Add subscribes to names and blocks until the server has confirmed each, as Subscription.Add does. After an error
// the names that it added are removed again.
func (s *Listening) Add(ctx context.Context, kind Kind, names []string) error {
	h := s.hub
	if len(names) == 0 {
		return nil
	}
	h.mu.Lock()
	if h.closed || s.closed {
		defer h.mu.Unlock()
		if h.closed {
			return pool.ErrClosed
		}
		return ErrClosed
	}
	sub := s.subs[kind]
	if sub == nil || sub.ended {
		sub = newSubscription(h, kind)
		sub.listener = s.l
		s.subs[kind] = sub
		h.subs[sub] = struct{}{}
	}
	h.mu.Unlock()
	return h.add(ctx, sub, names)
}

// Leave ends the subscription to names after the delivery of all messages that the server has sent before. It ignores
// other names. It blocks until then, or until ctx ends. It delivers nothing after it has returned.
func (s *Listening) Leave(ctx context.Context, kind Kind, names ...string) {
	h := s.hub
	l := &leave{done: make(chan struct{})}
	h.mu.Lock()
	defer h.mu.Unlock()
	sub := s.subs[kind]
	if sub == nil || sub.ended {
		return
	}
	for _, name := range names {
		if i := sub.interests[name]; i != nil {
			for _, m := range slices.Clone(i.members) {
				h.partLocked(m, l)
			}
		}
	}
	if l.pending > 0 {
		h.mu.Unlock()
		select {
		case <-l.done:
		case <-ctx.Done():
		}
		h.mu.Lock()
	}
	for _, name := range names {
		if i := sub.interests[name]; i != nil && i.members[0].leave == l {
			h.dropLocked(i)
		}
	}
	if len(sub.interests) == 0 && !sub.ended {
		h.endLocked(sub, ErrClosed, true)
		s.subs[kind] = nil
	}
}

// Close ends all subscriptions. A second call does nothing.
func (s *Listening) Close() {
	h := s.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	s.closed = true
	for _, sub := range s.subs {
		if sub != nil {
			h.endLocked(sub, ErrClosed, true)
		}
	}
}

// refusedAgainLocked ends a topic that the server refused to subscribe again: for a listener only that topic, for
// others the whole subscription.
func (h *Hub) refusedAgainLocked(t *topic, err error) {
	for _, m := range slices.Clone(t.members) {
		if m.at < 0 {
			continue // with another of its subscriptions
		}
		if l := m.sub.listener; l != nil {
			h.dropLocked(m.interest)
			l.Refused(t.kind, t.name, err)
			continue
		}
		h.endLocked(m.sub, err, false)
	}
}
