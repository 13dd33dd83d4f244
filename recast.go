package respool

import (
	"cmp"
	"context"
	"fmt"
	"time"

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
	steps, err := g.steps(ctx, l, from, to)
	if err != nil || len(steps) == 0 {
		return err
	}
	var raw []byte
	for _, s := range steps {
		raw, _ = resp.AppendCommand(raw, s.args)
	}
	expires := l.Conn().Expires()
	if from.User != to.User {
		l.Conn().SetExpires(time.Time{}) // a renewal would bring the user before back
	}
	frames, err := l.DoRaw(ctx, raw, len(steps), lane.Options{})
	if err != nil {
		return err
	}
	is := from
	if from == (pool.Key{}) {
		is = pool.Key{DB: g.c.opt.DB, Proto: l.Conn().Protocol()}
	}
	var refusal error
	done := 0
	for i, f := range frames {
		err := (Reply{frame: f}).Err()
		switch {
		case err == nil:
			steps[i].done(&is)
			done++
		case steps[i].args[0] == "SELECT" && g.db(to) == 0:
			// A dial selects no database 0: this tells nothing of the key.
			return fmt.Errorf("select database 0: %v", err)
		case refusal == nil:
			refusal = err
		}
	}
	if from.User != to.User && is.User == from.User {
		l.Conn().SetExpires(expires)
	}
	switch {
	case refusal == nil:
		return nil
	case done == 0:
		return &pool.Remains{Key: from, Err: refusal}
	}
	return &pool.Remains{Key: g.c.keyOf(is), Err: refusal}
}

// recastStep is one command of a recast.
type recastStep struct {
	args []any
	done func(*pool.Key) // takes in that it was accepted
}

// steps turn a connection of one key into one of another.
func (g *guests) steps(ctx context.Context, l *lane.Lane, from, to pool.Key) (steps []recastStep, err error) {
	if from.User != to.User {
		as, err := g.credentials(ctx, to.User)
		if err != nil {
			return nil, err
		}
		steps = append(steps, recastStep{as.auth(), func(k *pool.Key) {
			k.User = to.User
			l.Conn().SetExpires(as.Expires)
		}})
	}
	if proto := g.protocol(to); proto != l.Conn().Protocol() {
		steps = append(steps, recastStep{[]any{"HELLO", proto}, func(k *pool.Key) {
			k.Proto = proto
			l.Conn().SetProtocol(proto)
		}})
	}
	if db := g.db(to); g.db(from) != db {
		steps = append(steps, recastStep{[]any{"SELECT", db}, func(k *pool.Key) { k.DB = db }})
	}
	return steps, nil
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
