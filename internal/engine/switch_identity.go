package engine

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

// dial makes a connection of an identity. One of another user is introduced by the engine's own: the user may lack the
// right to what that takes, and the server would keep account of it. Where the engine's own user is refused,
// the user's does it.
func (e *Engine) dial(ctx, cut context.Context, cfg wire.Config, id Identity) (*wire.Conn, error) {
	switch {
	case id.User == nobody:
		cfg.Nobody = true
		return wire.Dial(ctx, cut, &cfg)
	case id.User != "":
		return e.dialUser(ctx, cut, cfg, id)
	case id != Identity{}:
		cfg.DB, cfg.Protocol = id.DB, id.Proto
	}
	conn, err := wire.Dial(ctx, cut, &cfg)
	e.noteOwn(err)
	return conn, err
}

func (e *Engine) dialUser(ctx, cut context.Context, cfg wire.Config, id Identity) (*wire.Conn, error) {
	if len(e.users.loginsOf(id.User)) == 0 {
		return nil, errForgotten
	}
	cfg.DB = 0
	if !e.ownIsRefused() {
		introduced := false
		cfg.Introduced = func(c *wire.Conn) error {
			introduced = true
			return e.introduce(ctx, c, "", id)
		}
		conn, err := wire.Dial(ctx, cut, &cfg)
		if introduced {
			e.noteOwn(nil)
		}
		if introduced || !pool.Refused(err) {
			return conn, err
		}
		e.noteOwn(err)
	}
	cfg.Nobody = true
	cfg.Introduced = func(c *wire.Conn) error { return e.introduce(ctx, c, nobody, id) }
	return wire.Dial(ctx, cut, &cfg)
}

// introduce makes a connection that was just dialed, as its user is by now, one of an identity.
func (e *Engine) introduce(ctx context.Context, c *wire.Conn, is string, id Identity) error {
	r := &switching{e: e, conn: c, ask: c.Ask, is: Identity{User: is, Proto: c.Protocol()}, anew: c.Server() == "" && is == nobody}
	refusal, err := r.to(ctx, id)
	if err == nil {
		err = refusal
	}
	return err
}

// ownRefusedFor is for how long the engine's own user is not tried again to introduce others, after the server
// has refused it.
const ownRefusedFor = 10 * time.Second

// noteOwn takes note of what the server made of the engine's own user.
func (e *Engine) noteOwn(err error) {
	var se *resp.ServerError
	switch {
	case err == nil:
		if e.ownRefused.Load() != 0 {
			e.ownRefused.Store(0)
		}
	case errors.As(err, &se) && (se.Code == "NOAUTH" || se.Code == "WRONGPASS"):
		e.ownRefused.Store(time.Now().UnixNano())
	}
}

func (e *Engine) ownIsRefused() bool {
	at := e.ownRefused.Load()
	return at != 0 && time.Since(time.Unix(0, at)) < ownRefusedFor
}

// switchIdentity makes a connection on which no reply is pending one of another identityentity.
func (e *Engine) switchIdentity(ctx context.Context, l *lane.Lane, from, to Identity) error {
	conn := l.Conn()
	r := &switching{e: e, conn: conn, is: e.spelt(from, conn), ask: func(commands [][]any) ([]error, error) {
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
	case r.refused == "SELECT" && e.db(to) == 0:
		// A dial selects no database 0: this tells nothing of the identity.
		return fmt.Errorf("select database 0: %v", refusal)
	case r.is == was:
		return &pool.Remains{Identity: from, Err: refusal}
	case r.is.DB == anyDB:
		return refusal
	}
	return &pool.Remains{Identity: e.own(r.is), Err: refusal}
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
		refusals[i] = errorOf(f)
	}
	return refusals, nil
}

// errAnotherDB ends a connection in the database of others. A new one is in database 0, whatever its user may select.
var errAnotherDB = errors.New("the engine's own user may not select database 0")

// anyDB is the database of a connection of which it is not known.
const anyDB = -1

// spelt is an identity with the database and protocol of its connection.
func (e *Engine) spelt(id Identity, conn *wire.Conn) Identity {
	db := e.db(id)
	if id.User == nobody {
		db = anyDB
	}
	return Identity{User: id.User, DB: db, Proto: conn.Protocol()}
}

// switching is a connection on its way to another identity.
type switching struct {
	e       *Engine
	conn    *wire.Conn
	ask     func(commands [][]any) (refusals []error, err error)
	is      Identity // by now, spelt out
	anew    bool     // HELLO has not introduced it
	refused string   // the last command that was refused
}

// switchStep is one command of a switch.
type switchStep struct {
	args []any
	done func() // takes in that it was accepted
}

// to makes the connection one of an identity. refusal is the server's; after an error the connection is of no use.
//
// AUTH is sent alone or as the first of several: a server may leave it unanswered behind other replies.
func (r *switching) to(ctx context.Context, id Identity) (refusal, err error) {
	want := Identity{User: id.User, DB: r.e.db(id), Proto: r.e.protocol(id)}
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

// prepare does as the engine's own user what is to be done before the connection is another's. What is
// refused is left to that user.
func (r *switching) prepare(ctx context.Context, want Identity) error {
	if r.is.User != "" && r.e.ownIsRefused() {
		return nil
	}
	steps, err := r.own(ctx)
	if err != nil {
		return nil // the credentials are not to be had
	}
	_, err = r.do(append(steps, r.rest(want)...))
	return err
}

// own is what makes the connection the engine's own user's.
func (r *switching) own(ctx context.Context) ([]switchStep, error) {
	if r.is.User == "" {
		return nil, nil
	}
	as, err := r.e.ownCredentials(ctx)
	if err != nil {
		return nil, err
	}
	return []switchStep{{as.auth(), func() {
		r.is.User = ""
		r.conn.SetExpires(as.Expires)
	}}}, nil
}

// rest is what is missing of an identity beside its user.
func (r *switching) rest(want Identity) (steps []switchStep) {
	if want.Proto != r.conn.Protocol() || r.anew {
		hello := []any{"HELLO", want.Proto}
		if name := r.e.cfg.Dial.ClientName; name != "" && r.anew {
			hello = append(hello, "SETNAME", name)
		}
		steps = append(steps, switchStep{hello, func() {
			r.is.Proto, r.anew = want.Proto, false
			r.conn.SetProtocol(want.Proto)
		}})
	}
	if want.DB != r.is.DB {
		steps = append(steps, switchStep{[]any{"SELECT", want.DB}, func() { r.is.DB = want.DB }})
	}
	return steps
}

// do sends steps in one write. refusal is the first one.
func (r *switching) do(steps []switchStep) (refusal, err error) {
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
func (r *switching) login(user string) (refusal, err error) {
	refusal = errForgotten
	for _, l := range r.e.users.loginsOf(user) {
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
			r.e.users.spend(user, l)
		}
	}
	return refusal, nil
}

// protocol is the one of an identity, where the engine leaves the choice to the server the newer one.
func (e *Engine) protocol(id Identity) int { return cmp.Or(id.Proto, e.cfg.Dial.Protocol, 3) }

// db is the database of an identity.
func (e *Engine) db(id Identity) int {
	if id == (Identity{}) {
		return e.cfg.Dial.DB
	}
	return id.DB
}

// What makes a connection a new one, and the answer. Servers before 6.2 do not know it.
var (
	rawReset   = []byte("*1\r\n$5\r\nRESET\r\n")
	replyReset = "+RESET\r\n"
)

// restore makes a connection in a state that nobody knows one of its identity again, in two round trips or three: RESET ends transactions,
// subscriptions, MONITOR and tracking, and then the connection logs in as a new one does. RESET goes alone, since
// AUTH must not be sent behind other commands.
func (e *Engine) restore(ctx context.Context, l *lane.Lane, id Identity) error {
	frames, err := l.DoRaw(ctx, rawReset, 1, lane.Options{})
	switch {
	case err != nil:
		return err
	case string(frames[0]) != replyReset:
		return fmt.Errorf("RESET was answered with %.100q", frames[0])
	}
	conn := l.Conn()
	conn.SetProtocol(2)
	conn.SetExpires(time.Time{})
	r := &switching{e: e, conn: conn, is: Identity{User: nobody, Proto: 2}, anew: true, ask: func(commands [][]any) ([]error, error) {
		return askLane(ctx, l, commands)
	}}
	refusal, err := r.to(ctx, id)
	if err == nil {
		err = refusal
	}
	return err
}
