package pubsub

import (
	"context"
	"fmt"
	"slices"
	"sync"
)

// Subscription is one subscriber's set of channels or patterns, with a buffer for their messages. All methods are
// safe for concurrent use.
type Subscription struct {
	hub      *Hub
	kind     Kind
	listener Listener // receives messages in place of the buffer; nil: none

	// Guarded by Hub.mu.
	interests map[string]*interest
	lost      int // members that are not confirmed again yet
	ended     bool

	wake chan struct{} // capacity 1: something to receive
	over chan struct{} // closed when err is set

	mu     sync.Mutex
	buf    buffer
	healed uint64 // the last loss after which all topics are confirmed again
	err    error
}

func newSubscription(h *Hub, kind Kind) *Subscription {
	return &Subscription{
		hub: h, kind: kind, interests: map[string]*interest{},
		wake: make(chan struct{}, 1), over: make(chan struct{}), buf: buffer{limit: h.cfg.Buffer},
	}
}

// Add also subscribes to names. It blocks until the server has confirmed each, as Hub.Subscribe does. After an error
// the names that it added are removed again. The subscription receives no message that was published before Add was
// called.
func (s *Subscription) Add(ctx context.Context, names ...string) error {
	if len(names) == 0 {
		return ErrNoNames
	}
	return s.hub.add(ctx, s, names)
}

// Remove ends the subscription to names. It ignores other names. It does not block. No message of the names arrives
// after it, but earlier messages can still be received. The last subscription of a name unsubscribes it at the
// server.
func (s *Subscription) Remove(names ...string) error {
	if len(names) == 0 {
		return ErrNoNames
	}
	h := s.hub
	h.mu.Lock()
	if s.ended {
		h.mu.Unlock()
		return s.end()
	}
	for _, name := range names {
		if i := s.interests[name]; i != nil {
			h.dropLocked(i)
		}
	}
	h.mu.Unlock()
	return nil
}

// Receive blocks until the next message or gap, or until ctx ends. After the end of the subscription it returns the
// cause: ErrClosed, pool.ErrClosed, or, after the buffered messages, the server's refusal to subscribe again.
func (s *Subscription) Receive(ctx context.Context) (Message, error) {
	for {
		if err := ctx.Err(); err != nil {
			return Message{}, fmt.Errorf("%w: %w", ErrReceive, err)
		}
		s.mu.Lock()
		if s.buf.ready(s.healed) {
			msg := s.buf.take()
			if s.buf.ready(s.healed) {
				s.signal() // another Receive may wait
			}
			s.mu.Unlock()
			return msg, nil
		}
		err := s.err
		s.mu.Unlock()
		if err != nil {
			return Message{}, err
		}
		select {
		case <-s.wake:
		case <-s.over:
		case <-ctx.Done():
		}
	}
}

// Close ends the subscription and drops buffered messages. A waiting Receive returns ErrClosed. It does not block. A
// second call does nothing.
func (s *Subscription) Close() error {
	s.hub.mu.Lock()
	s.hub.endLocked(s, ErrClosed, true)
	s.hub.mu.Unlock()
	return nil
}

// endLocked ends a subscription with err. With drop it discards the buffered messages.
func (h *Hub) endLocked(s *Subscription, err error, drop bool) {
	if s.ended {
		return
	}
	s.ended = true
	delete(h.subs, s)
	for _, i := range s.interests {
		for _, c := range slices.Clone(i.calls) {
			h.finishLocked(c, err)
		}
		h.dropLocked(i)
	}
	s.mu.Lock()
	s.err, s.healed = err, allHealed
	if drop {
		s.buf = buffer{limit: s.buf.limit}
	}
	s.mu.Unlock()
	close(s.over)
}

// end returns the cause of the end of the subscription.
func (s *Subscription) end() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

func (s *Subscription) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// deliver appends a message of m. While topics of another connection are lost, the message stands before their gap: the
// gap does not concern m, and does not hold back its messages.
func (s *Subscription) deliver(m *member, msg *Message) {
	s.mu.Lock()
	s.buf.push(msg, m.loss <= s.healed && s.buf.tail.loss > s.healed)
	s.mu.Unlock()
	s.signal()
}

func (s *Subscription) interrupt(loss uint64) {
	if s.listener != nil {
		s.listener.Lost()
		return
	}
	s.mu.Lock()
	s.buf.interrupt(loss)
	s.mu.Unlock()
}

func (s *Subscription) resume(loss uint64) {
	s.mu.Lock()
	s.healed = max(s.healed, loss)
	s.mu.Unlock()
	s.signal()
}
