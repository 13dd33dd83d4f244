package pubsub

import (
	"context"
	"fmt"
	"slices"
	"sync"
)

// Subscription is one subscriber's set of channels or patterns, and what they
// brought. All methods are safe for concurrent use.
type Subscription struct {
	hub      *Hub
	kind     Kind
	listener Listener // gets messages in place of the buffer; nil: none

	// Guarded by Hub.mu.
	members map[string]*member
	lost    int // members that wait to be confirmed again
	ended   bool

	wake chan struct{} // capacity 1: there is something to receive
	over chan struct{} // closed when err is set

	mu     sync.Mutex
	buf    buffer
	healed uint64 // the last loss of the connection after which all is confirmed again
	err    error
}

func newSubscription(h *Hub, kind Kind) *Subscription {
	return &Subscription{
		hub: h, kind: kind, members: map[string]*member{},
		wake: make(chan struct{}, 1), over: make(chan struct{}), buf: buffer{limit: h.cfg.Buffer},
	}
}

// Add subscribes to names as well and waits until the server has confirmed
// each, as Hub.Subscribe does. On an error those of names that were not there
// before are not there afterwards. Nothing arrives that was published before Add was called.
func (s *Subscription) Add(ctx context.Context, names ...string) error {
	if len(names) == 0 {
		return ErrNoNames
	}
	return s.hub.add(ctx, s, names)
}

// Remove ends the subscription to names; others are ignored. It does not
// block: nothing of them arrives after it, though what arrived before is
// still received. The server is told when nobody else wants them.
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
		if m := s.members[name]; m != nil {
			h.leaveLocked(m)
		}
	}
	h.mu.Unlock()
	return nil
}

// Receive waits for the next message or gap until ctx ends. After the end of
// the subscription it returns the cause: ErrClosed, pool.ErrClosed, or the
// server's refusal to subscribe again, then behind what had arrived.
func (s *Subscription) Receive(ctx context.Context) (Message, error) {
	for {
		if err := ctx.Err(); err != nil {
			return Message{}, fmt.Errorf("%w: %w", ErrReceive, err)
		}
		s.mu.Lock()
		if s.buf.ready(s.healed) {
			msg := s.buf.take()
			if s.buf.ready(s.healed) {
				s.signal() // another may wait
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

// Close ends the subscription and drops what was not received. A waiting
// Receive gets ErrClosed. It does not block; closing twice is fine.
func (s *Subscription) Close() error {
	s.hub.mu.Lock()
	s.hub.endLocked(s, ErrClosed, true)
	s.hub.mu.Unlock()
	return nil
}

// endLocked ends a subscription with err, and with drop at once.
func (h *Hub) endLocked(s *Subscription, err error, drop bool) {
	if s.ended {
		return
	}
	s.ended = true
	delete(h.subs, s)
	for _, m := range s.members {
		for _, c := range slices.Clone(m.calls) {
			h.finishLocked(c, err)
		}
		h.leaveLocked(m)
	}
	s.mu.Lock()
	s.err, s.healed = err, allHealed
	if drop {
		s.buf = buffer{limit: s.buf.limit}
	}
	s.mu.Unlock()
	close(s.over)
}

// end is why the subscription has ended.
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

func (s *Subscription) deliver(msg *Message) {
	s.mu.Lock()
	s.buf.push(msg)
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
