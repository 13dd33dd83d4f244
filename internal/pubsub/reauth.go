package pubsub

import (
	"context"
	"errors"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/wire"
	"github.com/seed-2b0d76a6/respool/resp"
)

// reauth is AUTH on the connection of a session. It is sent when no reply is pending, and nothing else before its
// reply. Hub.mu guards its fields.
type reauth struct {
	raw  []byte
	done chan error // capacity 1
}

var (
	errLost       = errors.New("the subscriber connection was lost")
	errUnanswered = errors.New("the AUTH before it is not answered yet")
)

// renewing is the reason for closing a connection that cannot authenticate again.
type renewing struct{}

func (renewing) Error() string {
	return "connection closed: its credentials are about to expire, and RESP2 takes no AUTH from a subscriber"
}

// Reauthenticate sends args, an AUTH, on the connection of the subscriptions if it is due. It blocks until the reply.
// It returns the connection, and the previous expiry of its credentials. A nil conn without an error means that
// nothing was due, or that the hub replaces the connection: in RESP2 a subscriber may not send AUTH. Subscriptions
// then receive a gap.
func (h *Hub) Reauthenticate(ctx context.Context, due func(*wire.Conn) bool, args []any) (was time.Time, conn *wire.Conn, err error) {
	raw, err := resp.AppendCommand(nil, args)
	if err != nil {
		return was, nil, err
	}
	h.mu.Lock()
	s := h.session
	if s == nil || !due(s.lane.Conn()) {
		h.mu.Unlock()
		return was, nil, nil
	}
	conn = s.lane.Conn()
	was = conn.Expires()
	if conn.Protocol() == 2 {
		h.mu.Unlock()
		s.lane.Fail(renewing{})
		return was, nil, nil
	}
	if s.reauth != nil {
		h.mu.Unlock()
		return was, nil, &wire.Error{Op: "authenticate again at", Addr: conn.Addr(), Err: errUnanswered}
	}
	a := &reauth{raw: raw, done: make(chan error, 1)}
	s.reauth = a
	h.mu.Unlock()
	h.wakeUp()
	select {
	case err = <-a.done:
	case <-s.lane.Done():
		err = errLost
	case <-ctx.Done():
		err = ctx.Err()
		h.mu.Lock()
		if s.reauth == a && !s.awaits(authenticate) {
			s.reauth = nil
		}
		h.mu.Unlock()
		h.wakeUp()
	}
	if err != nil {
		return was, nil, &wire.Error{Op: "authenticate again at", Addr: conn.Addr(), Err: err}
	}
	return was, conn, nil
}

// reauthLocked reports whether other commands must wait for a reauth, and returns the bytes to send for it now.
func (s *session) reauthLocked() (raw []byte, alone bool) {
	switch {
	case s.reauth == nil:
		return nil, false
	case len(s.sent) > 0: // AUTH, or a request before it
		return nil, true
	}
	s.sent = append(s.sent, &request{verb: authenticate})
	return s.reauth.raw, true
}

// awaits reports whether a request with verb v is the oldest one without a reply.
func (s *session) awaits(v verb) bool { return s.head() != nil && s.head().verb == v }

// endReauth reports the end of a reauth to its caller.
func (s *session) endReauth(err error) {
	if s.reauth != nil {
		s.reauth.done <- err
		s.reauth = nil
	}
}

// reauthenticatedLocked records the reply to AUTH and releases the waiting commands.
func (h *Hub) reauthenticatedLocked(s *session, err error) {
	s.pop()
	s.endReauth(err)
	h.wakeUp()
}
