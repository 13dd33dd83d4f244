package respool

import (
	"cmp"
	"context"
	"fmt"

	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/pool"
	"github.com/seed-2b0d76a6/respool/internal/wire"
	"github.com/seed-2b0d76a6/respool/resp"
)

// dialAs gives the dial of a key.
func (g *guests) dialAs(cfg *wire.Config, key pool.Key) (*wire.Config, error) {
	if key == (pool.Key{}) {
		return cfg, nil
	}
	as := *cfg
	as.DB, as.Protocol = key.DB, key.Proto
	if key.User != "" {
		user, password, err := g.login(key.User)
		if err != nil {
			return nil, err
		}
		as.Username, as.Password, as.Credentials = user, password, nil
	}
	return &as, nil
}

// recast makes a connection on which nothing is due one of another key, in one
// round trip.
func (g *guests) recast(ctx context.Context, l *lane.Lane, from, to pool.Key) error {
	proto := g.protocol(to)
	var raw []byte
	n := 0
	add := func(args ...any) {
		raw, _ = resp.AppendCommand(raw, args)
		n++
	}
	if from.User != to.User {
		user, password, err := g.credentials(ctx, to)
		if err != nil {
			return err
		}
		add("AUTH", user, password)
	}
	switched := proto != l.Conn().Protocol()
	if switched {
		add("HELLO", proto)
	}
	selects := g.db(from) != g.db(to)
	if selects {
		add("SELECT", g.db(to))
	}
	if n == 0 {
		return nil
	}
	frames, err := l.DoRaw(ctx, raw, n, lane.Options{})
	if err != nil {
		return err
	}
	for i, f := range frames {
		err := (Reply{frame: f}).Err()
		switch {
		case err == nil:
		case selects && i == n-1 && g.db(to) == 0:
			// A dial selects no database 0: this tells nothing of the key.
			return fmt.Errorf("select database 0: %v", err)
		case n == 1:
			return &pool.Unchanged{Err: err}
		default:
			return err
		}
	}
	if switched {
		l.Conn().SetProtocol(proto)
	}
	return nil
}

// protocol is the one of a key, where the client leaves the choice to the server the newer one.
func (g *guests) protocol(key pool.Key) int { return cmp.Or(key.Proto, g.c.opt.Protocol, 3) }

// db is the database of a key.
func (g *guests) db(key pool.Key) int {
	if key == (pool.Key{}) {
		return g.c.opt.DB
	}
	return key.DB
}

// credentials are those of a key's user.
func (g *guests) credentials(ctx context.Context, key pool.Key) (user, password string, err error) {
	if key.User != "" {
		return g.login(key.User)
	}
	opt := &g.c.opt
	user, password = opt.Username, opt.Password
	if opt.Credentials != nil {
		user, password, err = opt.Credentials(ctx)
	}
	return cmp.Or(user, defaultUser), password, err
}
