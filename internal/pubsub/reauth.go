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

// Reauthenticated is the outcome of Reauthenticate on one connection.
type Reauthenticated struct {
	Conn *wire.Conn // nil after an error
	Was  time.Time  // the previous expiry of its credentials
	Err  error
}

// Reauthenticate sends args, an AUTH, on the connections of the subscriptions that are due. It blocks until the replies.
// In RESP2 a subscriber may not send AUTH: the hub replaces such connections, without an outcome, and subscriptions
// receive a gap.
func (h *Hub) Reauthenticate(ctx context.Context, due func(*wire.Conn) bool, args []any) (outcomes []Reauthenticated) {
	raw, err := resp.AppendCommand(nil, args)
	if err != nil {
		return []Reauthenticated{{Err: err}}
	}
	for _, s := range h.sessions() {
		conn := s.lane.Conn()
		if !due(conn) {
			continue
		}
		if conn.Protocol() == 2 {
			s.lane.Fail(renewing{})
			continue
		}
		out := Reauthenticated{Conn: conn, Was: conn.Expires()}
		if err := h.reauthenticate(ctx, s, raw); err != nil {
			out = Reauthenticated{Err: &wire.Error{Op: "authenticate again at", Addr: conn.Addr(), Err: err}}
		}
		outcomes = append(outcomes, out)
	}
	return outcomes
}

// reauthenticate sends an AUTH on one connection.
func (h *Hub) reauthenticate(ctx context.Context, s *session, raw []byte) (err error) {
	a := &reauth{raw: raw, done: make(chan error, 1)}
	h.mu.Lock()
	if s.reauth != nil {
		h.mu.Unlock()
		return errUnanswered
	}
	s.reauth = a
	h.mu.Unlock()
	s.link.wakeUp()
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
		s.link.wakeUp()
	}
	return err
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
	s.link.wakeUp()
}
