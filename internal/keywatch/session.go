package keywatch

import (
	"context"
	"errors"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/pool"
	"github.com/seed-2b0d76a6/respool/internal/wire"
	"github.com/seed-2b0d76a6/respool/resp"
)

// session is one connection. It receives the replies and pushes of its lane. Watcher.mu guards its mutable fields.
type session struct {
	w    *Watcher
	conn *pool.Conn
	lane *lane.Lane
	born time.Duration

	err       error         // why it cannot be used any more; nil: it can
	heard     uint64        // frames received
	heardAt   time.Duration // when the last one arrived
	unflushed bool          // a request was posted and not flushed
	batched   bool          // Flush follows after the frames of a read
	raw       []byte        // a buffer
}

// largestRaw is the size of the largest buffer that is kept, in bytes.
const largestRaw = 2 * mostBytes

func (s *session) usable() bool { return s.w.session == s && s.err == nil }

// postLocked posts all requests that the core wants to send now. The goroutine posts those that must wait.
func (s *session) postLocked() {
	defer func() {
		if at := s.w.core.resumeAt; at > 0 {
			s.w.wakeBy(at)
		}
		if len(s.w.core.away) > 0 {
			s.w.wakeBy(s.w.core.awayUntil)
		}
	}()
	for s.usable() {
		raw, r := s.w.core.next(s.w.now(), s.raw[:0])
		if s.raw = raw[:0]; cap(s.raw) > largestRaw {
			s.raw = nil
		}
		if r == nil {
			return
		}
		if err := s.postOneLocked(raw, r); err != nil {
			s.w.core.unsent(r)
			return
		}
	}
}

// postOneLocked posts a request. lane.ErrFull means that replies are pending; any other error ends the session.
func (s *session) postOneLocked(raw []byte, r *request) error {
	// The lane's stall limit ends the wait for a reply, and with it the session.
	err := s.lane.Post(raw, r.replies, s, 0, lane.Options{NoTimeout: true, Patient: true})
	switch {
	case err == nil:
		s.w.core.sent(r)
		s.unflushed = true
	case !errors.Is(err, lane.ErrFull):
		s.failLocked(err)
	}
	return err
}

// pingLocked posts a ping unless a reply is pending.
func (s *session) pingLocked() {
	if s.w.core.flight.len() == 0 && s.usable() {
		_ = s.postOneLocked(s.w.ping, &request{verb: ping, replies: 1})
	}
}

func (s *session) failLocked(err error) {
	if s.usable() {
		s.err = err
		s.w.wakeUp()
	}
}

// unlockAndFlush posts what is to be sent, unlocks Watcher.mu, and flushes.
func (w *Watcher) unlockAndFlush() {
	s := w.session
	if s == nil {
		w.mu.Unlock()
		return
	}
	s.postLocked()
	flush := s.unflushed
	s.unflushed = false
	w.mu.Unlock()
	if flush {
		s.lane.Flush(false)
	}
}

func (s *session) hearLocked() {
	s.heard++
	s.heardAt = s.w.now()
}

// Reply receives the next reply.
func (s *session) Reply(_ uint64, frame []byte, _ bool, b *lane.Batch) {
	w := s.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if !s.usable() {
		return
	}
	s.hearLocked()
	if err := w.core.reply(s.heardAt, frame); err != nil {
		s.failLocked(err)
	}
	if !s.batched {
		s.batched = true
		b.Add(s)
	}
}

// Flush runs after the frames of a read.
func (s *session) Flush() {
	w := s.w
	w.mu.Lock()
	s.batched = false
	if c := &w.core; len(c.keys) == 0 || c.clean {
		w.wakeUp()
	}
	w.unlockAndFlush()
	w.deliver()
}

// Part accepts no parts of replies.
func (s *session) Part(uint64, []byte) bool { return false }

// Fail records that no further reply arrives.
func (s *session) Fail(_ uint64, err error) {
	s.w.mu.Lock()
	s.failLocked(err)
	s.w.mu.Unlock()
}

// push receives a push frame. A few pushes send a request each; then replies are due, and later pushes share one.
func (s *session) push(frame []byte) {
	w := s.w
	w.mu.Lock()
	if !s.usable() {
		w.mu.Unlock()
		return
	}
	s.hearLocked()
	if err := w.core.push(frame); err != nil {
		s.failLocked(err)
	}
	if len(w.core.notes) > 0 {
		w.mu.Unlock()
		w.deliver()
		w.mu.Lock()
	}
	w.unlockAndFlush()
}

// Reauthenticate sends args, an AUTH, on the connection if due selects it. It blocks until the reply or the end of ctx.
// It returns the connection, and the previous expiry of its credentials. A nil conn without an error means that it sent
// nothing.
func (w *Watcher) Reauthenticate(ctx context.Context, due func(*wire.Conn) bool, args []any) (was time.Time, conn *wire.Conn, err error) {
	raw, err := resp.AppendCommand(nil, args)
	if err != nil {
		return was, nil, err
	}
	w.mu.Lock()
	s := w.session
	if s == nil || w.core.ending || !s.usable() || !due(s.lane.Conn()) {
		w.mu.Unlock()
		return was, nil, nil
	}
	conn = s.lane.Conn()
	was = conn.Expires()
	done := make(chan error, 1)
	err = s.postOneLocked(raw, &request{verb: authenticate, replies: 1, done: done})
	w.unlockAndFlush()
	if err == nil {
		select {
		case err = <-done:
		case <-s.lane.Done():
			err = errLost
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	if err != nil {
		return was, nil, &wire.Error{Op: "authenticate again at", Addr: conn.Addr(), Err: err}
	}
	return was, conn, nil
}

var errLost = errors.New("the connection of the watched keys was lost")
