package respool

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/pool"
	"github.com/seed-2b0d76a6/respool/internal/wire"
	"github.com/seed-2b0d76a6/respool/resp"
)

// dial makes a connection of a key. One of another user is introduced by the client's own: the user may lack the
// right to what that takes, and the server would keep account of it. Where the client's own user is refused,
// the user's does it.
func (g *guests) dial(ctx, cut context.Context, cfg wire.Config, key pool.Key) (*wire.Conn, error) {
	switch {
	case key.User == nobody:
		cfg.Nobody = true
		return wire.Dial(ctx, cut, &cfg)
	case key.User != "":
		return g.dialUser(ctx, cut, cfg, key)
	case key != pool.Key{}:
		cfg.DB, cfg.Protocol = key.DB, key.Proto
	}
	conn, err := wire.Dial(ctx, cut, &cfg)
	g.noteOwn(err)
	return conn, err
}

func (g *guests) dialUser(ctx, cut context.Context, cfg wire.Config, key pool.Key) (*wire.Conn, error) {
	if len(g.loginsOf(key.User)) == 0 {
		return nil, errForgotten
	}
	cfg.DB = 0
	if !g.ownIsRefused() {
		introduced := false
		cfg.Introduced = func(c *wire.Conn) error {
			introduced = true
			return g.introduce(ctx, c, "", key)
		}
		conn, err := wire.Dial(ctx, cut, &cfg)
		if introduced {
			g.noteOwn(nil)
		}
		if introduced || !pool.Refused(err) {
			return conn, err
		}
		g.noteOwn(err)
	}
	cfg.Nobody = true
	cfg.Introduced = func(c *wire.Conn) error { return g.introduce(ctx, c, nobody, key) }
	return wire.Dial(ctx, cut, &cfg)
}

// introduce makes a connection that was just dialed, as its user is by now, one of a key.
func (g *guests) introduce(ctx context.Context, c *wire.Conn, is string, key pool.Key) error {
	r := &recasting{g: g, conn: c, ask: c.Ask, is: pool.Key{User: is, Proto: c.Protocol()}, anew: c.Server() == "" && is == nobody}
	refusal, err := r.to(ctx, key)
	if err == nil {
		err = refusal
	}
	return err
}

// ownRefusedFor is for how long the client's own user is not tried again to introduce others, after the server
// has refused it.
const ownRefusedFor = 10 * time.Second

// noteOwn takes note of what the server made of the client's own user.
func (g *guests) noteOwn(err error) {
	var se *ServerError
	switch {
	case err == nil:
		if g.ownRefused.Load() != 0 {
			g.ownRefused.Store(0)
		}
	case errors.As(err, &se) && (se.Code == "NOAUTH" || se.Code == "WRONGPASS"):
		g.ownRefused.Store(time.Now().UnixNano())
	}
}

func (g *guests) ownIsRefused() bool {
	at := g.ownRefused.Load()
	return at != 0 && time.Since(time.Unix(0, at)) < ownRefusedFor
}

// recast makes a connection on which nothing is due one of another key.
func (g *guests) recast(ctx context.Context, l *lane.Lane, from, to pool.Key) error {
	conn := l.Conn()
	r := &recasting{g: g, conn: conn, is: g.spelt(from, conn), ask: func(commands [][]any) ([]error, error) {
		return askLane(ctx, l, commands)
	}}
	was, expires := r.is, conn.Expires()
	if from.User != to.User {
		conn.SetExpires(time.Time{}) // a renewal would bring the user before back
	}
	refusal, err := r.to(ctx, to)
	if from.User == "" && r.is.User == "" {
		conn.SetExpires(expires)
	}
	switch {
	case err != nil || refusal == nil:
		return err
	case r.refused == "SELECT" && g.db(to) == 0:
		// A dial selects no database 0: this tells nothing of the key.
		return fmt.Errorf("select database 0: %v", refusal)
	case r.is == was:
		return &pool.Remains{Key: from, Err: refusal}
	case r.is.DB == anyDB:
		return refusal
	}
	return &pool.Remains{Key: g.c.keyOf(r.is), Err: refusal}
}

// askLane sends commands in one write, and returns what the server refused of each.
func askLane(ctx context.Context, l *lane.Lane, commands [][]any) ([]error, error) {
	var raw []byte
	for _, args := range commands {
		var err error
		if raw, err = resp.AppendCommand(raw, args); err != nil {
			return nil, err
		}
	}
	frames, err := l.DoRaw(ctx, raw, len(commands), lane.Options{})
	if err != nil {
		return nil, err
	}
	refusals := make([]error, len(frames))
	for i, f := range frames {
		refusals[i] = Reply{frame: f}.Err()
	}
	return refusals, nil
}

// errAnotherDB ends a connection in the database of others. A new one is in database 0, whatever its user may select.
var errAnotherDB = errors.New("the client's own user may not select database 0")

// anyDB is the database of a connection of which it is not known.
const anyDB = -1

// spelt is a key with the database and protocol of its connection.
func (g *guests) spelt(key pool.Key, conn *wire.Conn) pool.Key {
	db := g.db(key)
	if key.User == nobody {
		db = anyDB
	}
	return pool.Key{User: key.User, DB: db, Proto: conn.Protocol()}
}

// recasting is a connection on its way to another key.
type recasting struct {
	g       *guests
	conn    *wire.Conn
	ask     func(commands [][]any) (refusals []error, err error)
	is      pool.Key // by now, spelt out
	anew    bool     // HELLO has not introduced it
	refused string   // the last command that was refused
}

// recastStep is one command of a recast.
type recastStep struct {
	args []any
	done func() // takes in that it was accepted
}

// to makes the connection one of a key. refusal is the server's; after an error the connection is of no use.
//
// AUTH is sent alone or as the first of several: a server may leave it unanswered behind other replies.
func (r *recasting) to(ctx context.Context, key pool.Key) (refusal, err error) {
	want := pool.Key{User: key.User, DB: r.g.db(key), Proto: r.g.protocol(key)}
	switch want.User {
	case nobody:
		return nil, nil // no login asks for more
	case "":
		steps, err := r.own(ctx)
		if err != nil {
			return nil, err
		}
		return r.do(append(steps, r.rest(want)...))
	}
	moves := r.is.DB != want.DB
	if r.is.User == want.User && moves {
		// Another user can't be sure to come back if the server takes the password no more.
		refusal, err := r.login(want.User)
		if err != nil {
			return nil, err
		}
		moves = refusal == nil
	}
	if moves || r.is.User == "" {
		if err := r.prepare(ctx, want); err != nil {
			return nil, err
		}
	}
	if r.is.User != want.User {
		if want.DB == 0 && r.is.DB != 0 {
			return nil, errAnotherDB
		}
		if refusal, err := r.login(want.User); refusal != nil || err != nil {
			return refusal, err
		}
	}
	return r.do(r.rest(want))
}

// prepare does as the client's own user what is to be done before the connection is another's. What is
// refused is left to that user.
func (r *recasting) prepare(ctx context.Context, want pool.Key) error {
	if r.is.User != "" && r.g.ownIsRefused() {
		return nil
	}
	steps, err := r.own(ctx)
	if err != nil {
		return nil // the credentials are not to be had
	}
	_, err = r.do(append(steps, r.rest(want)...))
	return err
}

// own is what makes the connection the client's own user's.
func (r *recasting) own(ctx context.Context) ([]recastStep, error) {
	if r.is.User == "" {
		return nil, nil
	}
	as, err := r.g.ownCredentials(ctx)
	if err != nil {
		return nil, err
	}
	return []recastStep{{as.auth(), func() {
		r.is.User = ""
		r.conn.SetExpires(as.Expires)
	}}}, nil
}

// rest is what is missing of a key beside its user.
func (r *recasting) rest(want pool.Key) (steps []recastStep) {
	if want.Proto != r.conn.Protocol() || r.anew {
		hello := []any{"HELLO", want.Proto}
		if name := r.g.c.opt.ClientName; name != "" && r.anew {
			hello = append(hello, "SETNAME", name)
		}
		steps = append(steps, recastStep{hello, func() {
			r.is.Proto, r.anew = want.Proto, false
			r.conn.SetProtocol(want.Proto)
		}})
	}
	if want.DB != r.is.DB {
		steps = append(steps, recastStep{[]any{"SELECT", want.DB}, func() { r.is.DB = want.DB }})
	}
	return steps
}

// do sends steps in one write. refusal is the first one.
func (r *recasting) do(steps []recastStep) (refusal, err error) {
	if len(steps) == 0 {
		return nil, nil
	}
	commands := make([][]any, len(steps))
	for i := range steps {
		commands[i] = steps[i].args
	}
	refusals, err := r.ask(commands)
	if err != nil {
		return nil, err
	}
	for i, e := range refusals {
		switch {
		case e == nil:
			steps[i].done()
		case refusal == nil:
			refusal, r.refused = e, commands[i][0].(string)
		}
	}
	return refusal, nil
}

// login makes the connection a user's, by the first password that the server takes. A refusal leaves it as it was.
func (r *recasting) login(user string) (refusal, err error) {
	refusal = errForgotten
	for _, l := range r.g.loginsOf(user) {
		refusals, err := r.ask([][]any{{"AUTH", user, l.password}})
		if err != nil {
			return nil, err
		}
		refusal, r.refused = refusals[0], "AUTH"
		if refusal == nil {
			r.is.User = user
			r.conn.SetExpires(time.Time{})
			return nil, nil
		}
		if wrongPassword(refusal) {
			r.g.spend(user, l)
		}
	}
	return refusal, nil
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
