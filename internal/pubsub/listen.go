package pubsub

import (
	"context"
	"slices"

	"github.com/seed-2b0d76a6/respool/internal/pool"
)

// Listener is told of messages as they come, in place of a receiver that has a buffer.
// Its methods are called on the goroutine of the connection's reader, or the hub's, with the Hub's
// lock held: they must neither block nor call the Hub.
type Listener interface {
	// Deliver hands over what a topic has brought. channel and payload are valid during the call.
	Deliver(kind Kind, topic string, channel, payload []byte)
	// Lost tells that messages may be missing, since the connection was lost: all is being
	// subscribed again. It is called once for each topic.
	Lost()
	// Refused tells that the server does not let a topic be subscribed again: it is not any more.
	Refused(kind Kind, topic string, err error)
}

// Listening is what one Listener is subscribed to, of all kinds. Its methods are
// safe for concurrent use, but that one Add or Leave has to end before the next begins.
type Listening struct {
	hub *Hub
	l   Listener

	// Guarded by Hub.mu.
	subs   [kinds]*Subscription
	closed bool
}

// Listen makes a Listening with no topics. It has to be closed.
func (h *Hub) Listen(l Listener) *Listening { return &Listening{hub: h, l: l} }

// Add subscribes to names and waits until the server has confirmed each, as
// Subscription.Add does. On an error those that were not there before are not there afterwards.
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

// Leave ends the subscription to names once all that the server has sent of them before is delivered; others are
// ignored. When ctx ends it does so at once. Nothing of them is delivered after it has returned.
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
		if m := sub.members[name]; m != nil {
			h.partLocked(m, l)
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
		if m := sub.members[name]; m != nil && m.leave == l {
			h.leaveLocked(m)
		}
	}
	if len(sub.members) == 0 && !sub.ended {
		h.endLocked(sub, ErrClosed, true)
		s.subs[kind] = nil
	}
}

// Close is Remove for all there is. Closing twice is fine.
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

// refusedAgainLocked ends what the server does not let be subscribed again: of a
// listener the one topic, of others the subscription.
func (h *Hub) refusedAgainLocked(t *topic, err error) {
	for _, m := range slices.Clone(t.members) {
		if m.at < 0 {
			continue // with another one of its subscription
		}
		if l := m.sub.listener; l != nil {
			h.leaveLocked(m)
			l.Refused(t.kind, t.name, err)
			continue
		}
		h.endLocked(m.sub, err, false)
	}
}
