package sentinels

import (
	"context"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/renewal"
	"github.com/seed-2b0d76a6/respool/internal/topology/discovery"
	"github.com/seed-2b0d76a6/respool/internal/wire"
)

// links are the connections whose credentials are renewed.
type links struct{ s *Set }

func (l links) Earliest() (first time.Time) {
	l.s.links.Each(func(conn discovery.Conn) {
		if at := conn.(*wire.Conn).Expires(); !at.IsZero() && (first.IsZero() || at.Before(first)) {
			first = at
		}
	})
	return first
}

func (l links) Reauthenticate(ctx context.Context, as renewal.Credentials, pause func(context.Context)) (done int, failed []error) {
	l.s.links.Each(func(conn discovery.Conn) {
		c := conn.(*wire.Conn)
		was := c.Expires()
		if !as.Outlast(c) {
			return
		}
		turn, cancel := context.WithTimeout(ctx, l.s.cfg.Timeout)
		defer cancel()
		if err := l.s.links.Reauthenticate(turn, conn, as.Auth()); err != nil {
			failed = append(failed, &wire.Error{Op: "authenticate again at sentinel", Addr: c.Addr(), Err: err})
			return
		}
		c.Renewed(was, as.Expires)
		done++
		pause(ctx)
	})
	return done, failed
}

// ReplaceExpired closes expired connections. The sentinel machine dials new ones.
func (l links) ReplaceExpired() {
	l.s.links.Each(func(conn discovery.Conn) {
		if at := conn.(*wire.Conn).Expires(); !at.IsZero() && !at.After(time.Now()) {
			l.s.links.Redial(conn)
		}
	})
}
