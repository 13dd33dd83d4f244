package discovery

import (
	"context"
	"errors"

	"github.com/seed-2b0d76a6/respool/internal/topology/sentinel"
	"github.com/seed-2b0d76a6/respool/resp"
)

var (
	errNotOpen    = errors.New("the connection is closed")
	errUnanswered = errors.New("the AUTH before it is not answered yet")
	errRedialed   = errors.New("the connection was replaced, as its credentials expire")
)

// reauth is an AUTH on a link. It is sent when no reply is pending, and nothing else before its reply: a sentinel may
// otherwise not reply to a refused AUTH.
type reauth struct {
	raw  []byte
	sent bool
	done chan error // capacity 1
}

// Each calls fn with every open connection, one after the other. fn may call s.
func (s *Sentinels) Each(fn func(Conn)) {
	var open []Conn
	s.mu.Lock()
	for _, l := range s.links {
		if l.conn != nil && !l.closing {
			open = append(open, l.conn)
		}
	}
	s.mu.Unlock()
	for _, conn := range open {
		fn(conn)
	}
}

// Redial closes a connection, so that a new one is dialed.
func (s *Sentinels) Redial(conn Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.atLocked(conn); l != nil {
		l.failLocked(errRedialed)
	}
}

func (s *Sentinels) atLocked(conn Conn) *link {
	for _, l := range s.links {
		if l.conn == conn && !l.closing {
			return l
		}
	}
	return nil
}

// Reauthenticate sends args, an AUTH, alone on a connection. It blocks until its reply, the end of ctx or the loss of
// the connection. A subscription in RESP2 does not accept AUTH: Reauthenticate replaces it and returns nil.
func (s *Sentinels) Reauthenticate(ctx context.Context, conn Conn, args []any) error {
	raw, err := resp.AppendCommand(nil, args)
	if err != nil {
		return err
	}
	s.mu.Lock()
	l := s.atLocked(conn)
	switch {
	case l == nil:
		err = errNotOpen
	case l.reauth != nil:
		err = errUnanswered
	case l.at.kind == sentinel.Subscription && !speaks3(conn):
		l.failLocked(errRedialed)
		s.mu.Unlock()
		return nil
	}
	if err != nil {
		s.mu.Unlock()
		return err
	}
	a := &reauth{raw: raw, done: make(chan error, 1)}
	l.reauth = a
	l.reauthLocked()
	s.mu.Unlock()
	select {
	case err = <-a.done:
		return err
	case <-l.gone:
		return errNotOpen
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.reauth == a && !a.sent {
		l.reauth = nil
	}
	return ctx.Err()
}

func speaks3(conn Conn) bool {
	c, ok := conn.(interface{ Protocol() int })
	return ok && c.Protocol() == 3
}

// reauthLocked sends a waiting AUTH if no reply is pending.
func (l *link) reauthLocked() {
	if l.reauth == nil || l.reauth.sent || len(l.asked) > 0 || l.unsure > 0 || l.pings > 0 {
		return
	}
	l.reauth.sent = true
	l.sendLocked(l.reauth.raw)
}

// alone reports whether nothing else may be sent now.
func (l *link) alone() bool { return l.reauth != nil && l.reauth.sent }

// submitLocked sends raw, after the reply to an AUTH in flight.
func (l *link) submitLocked(raw []byte) {
	if l.alone() {
		l.behind = append(l.behind, raw...)
		return
	}
	l.sendLocked(raw)
}

// reauthenticatedLocked processes the reply to AUTH.
func (l *link) reauthenticatedLocked(v resp.Value) {
	var err error
	if v.Kind == resp.SimpleError || v.Kind == resp.BulkError {
		err = resp.NewServerError(string(v.Str))
	}
	l.reauth.done <- err
	l.reauth = nil
	if len(l.behind) > 0 {
		l.sendLocked(l.behind)
		l.behind = nil
	}
}
