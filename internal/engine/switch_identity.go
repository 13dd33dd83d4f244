package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/pool"
	"github.com/seed-2b0d76a6/respool/internal/wire"
	"github.com/seed-2b0d76a6/respool/resp"
)

// dial opens a connection of an identity. For another user, the engine's own user runs HELLO and SELECT first: the
// other user may lack those permissions, and the server would log its refusals. If the server refuses the engine's
// own user, the other user runs them.
func (e *Engine) dial(ctx, cut context.Context, cfg wire.Config, id Identity) (*wire.Conn, error) {
	switch {
	case id.User == nobody:
		return e.dialNobody(ctx, cut, cfg)
	case id.User != "":
		return e.dialUser(ctx, cut, cfg, id)
	case id != Identity{}:
		cfg.DB, cfg.Protocol = id.DB, id.Proto
	}
	conn, err := wire.Dial(ctx, cut, &cfg)
	e.ownLogin.note(err)
	return conn, err
}

// dialNobody opens a connection without a login. If the engine has no login either, HELLO's reply concerns its own user.
func (e *Engine) dialNobody(ctx, cut context.Context, cfg wire.Config) (*wire.Conn, error) {
	cfg.Nobody = true
	conn, err := wire.Dial(ctx, cut, &cfg)
	if err != nil || e.hasLogin() {
		return conn, err
	}
	if refusal := conn.Unauthenticated(); refusal != nil {
		e.ownLogin.note(refusal)
	} else if conn.Server() != "" {
		e.ownLogin.note(nil)
	}
	return conn, nil
}

func (e *Engine) dialUser(ctx, cut context.Context, cfg wire.Config, id Identity) (*wire.Conn, error) {
	if len(e.users.loginsOf(id.User)) == 0 {
		return nil, errForgotten
	}
	cfg.DB = 0
	if !e.ownLogin.refused() {
		introduced := false
		cfg.Introduced = func(c *wire.Conn) error {
			introduced = true
			return e.introduce(ctx, c, "", id)
		}
		conn, err := wire.Dial(ctx, cut, &cfg)
		if introduced {
			e.ownLogin.note(nil)
		}
		if introduced || !pool.Refused(err) {
			return conn, err
		}
		e.ownLogin.note(err)
	}
	cfg.Nobody = true
	cfg.Introduced = func(c *wire.Conn) error { return e.introduce(ctx, c, nobody, id) }
	return wire.Dial(ctx, cut, &cfg)
}

// introduce switches a newly dialed connection from the user is to an identity.
func (e *Engine) introduce(ctx context.Context, c *wire.Conn, is string, id Identity) error {
	r := &switching{e: e, conn: c, ask: c.Ask, is: Identity{User: is, Proto: c.Protocol()}, anew: c.Server() == "" && is == nobody}
	refusal, err := r.to(ctx, id)
	if err == nil {
		err = refusal
	}
	return err
}

// ownRefusedFor is how long dials for other users skip the engine's own user after the server refused it.
const ownRefusedFor = 10 * time.Second

// ownLogin remembers whether the server refuses the engine's own user.
type ownLogin struct {
	last atomic.Pointer[ownRefusal] // nil: the server has accepted the user since the last refusal, or there is none
}

// ownRefusal is a refusal of the engine's own user.
type ownRefusal struct {
	err error
	at  time.Time
}

// note records the outcome of a login as the engine's own user.
func (o *ownLogin) note(err error) {
	var se *resp.ServerError
	switch {
	case err == nil:
		if o.last.Load() != nil {
			o.last.Store(nil)
		}
	case errors.As(err, &se) && (se.Code == "NOAUTH" || se.Code == "WRONGPASS"):
		o.last.Store(&ownRefusal{se, time.Now()})
	}
}

// refusal returns the last refusal, unless the server has accepted the user since.
func (o *ownLogin) refusal() error {
	if last := o.last.Load(); last != nil {
		return last.err
	}
	return nil
}

// refused reports whether dials should skip the engine's own user now.
func (o *ownLogin) refused() bool {
	last := o.last.Load()
	return last != nil && time.Since(last.at) < ownRefusedFor
}

// hasLogin reports whether a dial of the engine's own user sends AUTH.
func (e *Engine) hasLogin() bool {
	return e.renewer != nil || e.cfg.Dial.Username != "" || e.cfg.Dial.Password != ""
}

// refusalWithoutLogin returns the refusal because of which an engine without a login must not send AUTH for its own
// user. The server would refuse AUTH too, and would log that. It does not log the refusal of a dial: only dials try
// again.
func (e *Engine) refusalWithoutLogin() error {
	if e.hasLogin() {
		return nil
	}
	return e.ownLogin.refusal()
}

// switchIdentity switches a connection without pending replies to another identity.
func (e *Engine) switchIdentity(ctx context.Context, l *lane.Lane, from, to Identity) error {
	conn := l.Conn()
	r := &switching{e: e, conn: conn, is: e.spelt(from, conn), ask: func(commands [][]any) ([]error, error) {
		return askLane(ctx, l, commands)
	}}
	was, expires := r.is, conn.Expires()
	if from.User != to.User {
		conn.SetExpires(time.Time{}) // a renewal would switch back to the previous user
	}
	refusal, err := r.to(ctx, to)
	if from.User == "" && r.is.User == "" {
		conn.SetExpires(expires)
	}
	switch {
	case err != nil || refusal == nil:
		return err
	case r.refused == "SELECT" && e.db(to) == 0:
		// A dial does not send SELECT for database 0. The refusal therefore does not concern the identity.
		return fmt.Errorf("select database 0: %v", refusal)
	case r.is == was:
		return &pool.Remains{Identity: from, Err: refusal}
	case r.is.DB == anyDB:
		return refusal
	}
	return &pool.Remains{Identity: e.own(r.is), Err: refusal}
}

// askLane sends commands in one write. It returns the server's refusal of each, or nil.
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

// errAnotherDB closes a connection that must return to database 0. A new connection starts in database 0, whatever
// permissions its user has.
var errAnotherDB = errors.New("the engine's own user may not select database 0")

// anyDB is the database of a connection if it is unknown.
const anyDB = -1

// spelt returns an identity with the actual database and protocol of its connection.
func (e *Engine) spelt(id Identity, conn *wire.Conn) Identity {
	db := e.db(id)
	if id.User == nobody {
		db = anyDB
	}
	return Identity{User: id.User, DB: db, Proto: conn.Protocol()}
}

// switching is the state of a connection that switches to another identity.
type switching struct {
	e       *Engine
	conn    *wire.Conn
	ask     func(commands [][]any) (refusals []error, err error)
	is      Identity // the current identity, without defaults
	anew    bool     // HELLO has not set the connection's name yet
	refused string   // the last refused command
}

// switchStep is one command of a switch.
type switchStep struct {
	args    []any
	done    func()              // records that the server accepted the command
	refused func(refusal error) // records that it did not; may be nil
}

// to switches the connection to an identity. refusal is the server's. After an error the connection is unusable.
//
// AUTH is sent alone or first: a server may not reply to it behind other commands.
func (r *switching) to(ctx context.Context, id Identity) (refusal, err error) {
	want := Identity{User: id.User, DB: r.e.db(id), Proto: r.e.protocol(id)}
	switch want.User {
	case nobody:
		return nil, nil // logins need nothing else
	case "":
		if refusal := r.e.refusalWithoutLogin(); r.is.User != "" && refusal != nil {
			return refusal, nil
		}
		steps, err := r.own(ctx)
		if err != nil {
			return nil, err
		}
		return r.do(append(steps, r.rest(want)...))
	}
	moves := r.is.DB != want.DB
	if r.is.User == want.User && moves {
		// Verify the user first: if the server refuses the password by now, the user could not log in again after
		// SELECT ran as the engine's own user.
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

// prepare runs HELLO and SELECT as the engine's own user before the switch to another user. The other user runs what
// the server refuses.
func (r *switching) prepare(ctx context.Context, want Identity) error {
	if r.is.User != "" && (r.e.ownLogin.refused() || r.e.refusalWithoutLogin() != nil) {
		return nil
	}
	steps, err := r.own(ctx)
	if err != nil {
		return nil // no credentials are available
	}
	_, err = r.do(append(steps, r.rest(want)...))
	return err
}

// own returns the steps that switch the connection to the engine's own user.
func (r *switching) own(ctx context.Context) ([]switchStep, error) {
	if r.is.User == "" {
		return nil, nil
	}
	as, err := r.e.ownCredentials(ctx)
	if err != nil {
		return nil, err
	}
	return []switchStep{{args: as.auth(), refused: r.e.ownLogin.note, done: func() {
		r.is.User = ""
		r.conn.SetExpires(as.Expires)
		r.e.ownLogin.note(nil)
	}}}, nil
}

// rest returns the steps for the protocol and the database of an identity.
func (r *switching) rest(want Identity) (steps []switchStep) {
	if want.Proto != r.conn.Protocol() || r.anew {
		hello := []any{"HELLO", want.Proto}
		if name := r.e.cfg.Dial.ClientName; name != "" && r.anew {
			hello = append(hello, "SETNAME", name)
		}
		steps = append(steps, switchStep{args: hello, done: func() {
			r.is.Proto, r.anew = want.Proto, false
			r.conn.SetProtocol(want.Proto)
		}})
	}
	if want.DB != r.is.DB {
		steps = append(steps, switchStep{args: []any{"SELECT", want.DB}, done: func() { r.is.DB = want.DB }})
	}
	return steps
}

// do sends steps in one write. It returns the first refusal.
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
		if e == nil {
			steps[i].done()
			continue
		}
		if steps[i].refused != nil {
			steps[i].refused(e)
		}
		if refusal == nil {
			refusal, r.refused = e, commands[i][0].(string)
		}
	}
	return refusal, nil
}

// login switches the connection to a user, with the first password that the server accepts. After a refusal the
// connection is unchanged.
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

// protocol returns the protocol of an identity; 3 if neither the identity nor the configuration sets one.
func (e *Engine) protocol(id Identity) int { return cmp.Or(id.Proto, e.cfg.Dial.Protocol, 3) }

// db returns the database of an identity.
func (e *Engine) db(id Identity) int {
	if id == (Identity{}) {
		return e.cfg.Dial.DB
	}
	return id.DB
}

// RESET and its reply. Servers before 6.2 lack RESET.
var (
	rawReset   = []byte("*1\r\n$5\r\nRESET\r\n")
	replyReset = "+RESET\r\n"
)

// restore returns a connection in an unknown state to its identity, in two or three round trips. RESET ends
// transactions, subscriptions, MONITOR and tracking. Then the connection logs in like a new one. RESET is sent alone,
// because AUTH must not follow other commands.
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
