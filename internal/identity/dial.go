package identity

import (
	"context"

	"github.com/seed-2b0d76a6/respool/internal/pool"
	"github.com/seed-2b0d76a6/respool/internal/wire"
)

// Dial opens a connection of an identity. For another user, the engine's own user runs HELLO and SELECT first: the
// other user may lack those permissions, and the server would log its refusals. If the server refuses the engine's
// own user, the other user runs them.
func (s *Switcher) Dial(ctx, cut context.Context, cfg wire.Config, id pool.Identity) (*wire.Conn, error) {
	switch {
	case id.User == Nobody:
		return s.dialNobody(ctx, cut, cfg)
	case id.User != "":
		return s.dialUser(ctx, cut, cfg, id)
	case !isOwn(id):
		cfg.DB, cfg.Protocol = id.DB, id.Proto
	}
	cfg.ReadOnly = id.Replica
	conn, err := wire.Dial(ctx, cut, &cfg)
	s.ownLogin.note(err)
	return conn, err
}

// dialNobody opens a connection without a login. If the engine has no login either, HELLO's reply concerns its own user.
func (s *Switcher) dialNobody(ctx, cut context.Context, cfg wire.Config) (*wire.Conn, error) {
	cfg.Nobody = true
	conn, err := wire.Dial(ctx, cut, &cfg)
	if err != nil || s.hasLogin() {
		return conn, err
	}
	if refusal := conn.Unauthenticated(); refusal != nil {
		s.ownLogin.note(refusal)
	} else if conn.Server() != "" {
		s.ownLogin.note(nil)
	}
	return conn, nil
}

func (s *Switcher) dialUser(ctx, cut context.Context, cfg wire.Config, id pool.Identity) (*wire.Conn, error) {
	if len(s.users.loginsOf(id.User)) == 0 {
		return nil, errForgotten
	}
	cfg.DB = 0
	if !s.ownLogin.refused() {
		introduced := false
		cfg.Introduced = func(c *wire.Conn) error {
			introduced = true
			return s.introduce(ctx, c, "", id)
		}
		conn, err := wire.Dial(ctx, cut, &cfg)
		if introduced {
			s.ownLogin.note(nil)
		}
		if introduced || !pool.Refused(err) {
			return conn, err
		}
		s.ownLogin.note(err)
	}
	cfg.Nobody = true
	cfg.Introduced = func(c *wire.Conn) error { return s.introduce(ctx, c, Nobody, id) }
	return wire.Dial(ctx, cut, &cfg)
}

// introduce switches a newly dialed connection from the user is to an identity.
func (s *Switcher) introduce(ctx context.Context, c *wire.Conn, is string, id pool.Identity) error {
	r := &switching{s: s, conn: c, ask: c.Ask, is: pool.Identity{User: is, Proto: c.Protocol()}, anew: c.Server() == "" && is == Nobody}
	refusal, err := r.to(ctx, id)
	if err == nil {
		err = refusal
	}
	return err
}
