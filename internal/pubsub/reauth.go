package pubsub

import (
	"context"
	"errors"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/wire"
	"github.com/seed-2b0d76a6/respool/resp"
)

// reauth is AUTH on the connection of a session: it is sent once no answer is due, and nothing else
// before its own. Its fields are guarded by Hub.mu.
type reauth struct {
	raw  []byte
	done chan error // capacity 1
}

var (
	errLost       = errors.New("the subscriber connection was lost")
	errUnanswered = errors.New("the AUTH before it is not answered yet")
)

// renewing is why a connection ends that can't authenticate again.
type renewing struct{}

func (renewing) Error() string {
	return "connection closed: its credentials are about to expire, and RESP2 takes no AUTH from a subscriber"
}

// Reauthenticate sends args, an AUTH, on the connection of the subscriptions if it is due, and returns that
// connection once the server has accepted, and when its credentials would have ended. nil without an
// error says that there is nothing to do.
// In RESP2 a subscriber may send no AUTH: its connection is replaced, and subscriptions
// find a gap.
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

// reauthLocked tells whether everything else has to wait for a reauth, and what to send for it now.
func (s *session) reauthLocked() (raw []byte, alone bool) {
	switch {
	case s.reauth == nil:
		return nil, false
	case len(s.sent) > 0: // it, or what it waits for
		return nil, true
	}
	s.sent = append(s.sent, &request{verb: authenticate})
	return s.reauth.raw, true
}

// awaits reports whether the answer to a request of that kind is the next one due.
func (s *session) awaits(v verb) bool { return s.head() != nil && s.head().verb == v }

// endReauth tells who waits for one.
func (s *session) endReauth(err error) {
	if s.reauth != nil {
		s.reauth.done <- err
		s.reauth = nil
	}
}

// reauthenticatedLocked takes the answer in. Those who had to wait go on.
func (h *Hub) reauthenticatedLocked(s *session, err error) {
	s.pop()
	s.endReauth(err)
	h.wakeUp()
}
