package identity

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/pool"
	"github.com/seed-2b0d76a6/respool/internal/wire"
	"github.com/seed-2b0d76a6/respool/resp"
)

// Switch switches a connection without pending replies to another identity.
func (s *Switcher) Switch(ctx context.Context, l *lane.Lane, from, to pool.Identity) error {
	conn := l.Conn()
	r := &switching{s: s, conn: conn, is: s.spelt(from, conn), ask: func(commands [][]any) ([]error, error) {
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
	case r.refused == "SELECT" && s.db(to) == 0:
		// A dial does not send SELECT for database 0. The refusal therefore does not concern the identity.
		return fmt.Errorf("select database 0: %v", refusal)
	case r.is == was:
		return &pool.Remains{Identity: from, Err: refusal}
	case r.is.DB == anyDB:
		return refusal
	}
	return &pool.Remains{Identity: s.Own(r.is), Err: refusal}
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
		if refusal := resp.ErrorIn(f); refusal != nil {
			refusals[i] = refusal
		}
	}
	return refusals, nil
}

// errAnotherDB closes a connection that must return to database 0. A new connection starts in database 0, whatever
// permissions its user has.
var errAnotherDB = errors.New("the engine's own user may not select database 0")

// switching is the state of a connection that switches to another identity.
type switching struct {
	s       *Switcher
	conn    *wire.Conn
	ask     func(commands [][]any) (refusals []error, err error)
	is      pool.Identity // the current identity, without defaults
	anew    bool          // HELLO has not set the connection's name yet
	refused string        // the last refused command
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
func (r *switching) to(ctx context.Context, id pool.Identity) (refusal, err error) {
	want := pool.Identity{User: id.User, DB: r.s.db(id), Proto: r.s.protocol(id), Replica: id.Replica}
	switch want.User {
	case Nobody:
		return nil, nil // logins need nothing else
	case "":
		if refusal := r.s.refusalWithoutLogin(); r.is.User != "" && refusal != nil {
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
func (r *switching) prepare(ctx context.Context, want pool.Identity) error {
	if r.is.User != "" && (r.s.ownLogin.refused() || r.s.refusalWithoutLogin() != nil) {
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
	as, err := r.s.ownCredentials(ctx)
	if err != nil {
		return nil, err
	}
	return []switchStep{{args: as.Auth(), refused: r.s.ownLogin.note, done: func() {
		r.is.User = ""
		r.conn.SetExpires(as.Expires)
		r.s.ownLogin.note(nil)
	}}}, nil
}

// rest returns the steps for the protocol, the database and the mode of an identity.
func (r *switching) rest(want pool.Identity) (steps []switchStep) {
	if want.Proto != r.conn.Protocol() || r.anew {
		hello := []any{"HELLO", want.Proto}
		if name := r.s.dial.ClientName; name != "" && r.anew {
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
	if want.Replica != r.is.Replica {
		mode := "READWRITE"
		if want.Replica {
			mode = "READONLY"
		}
		steps = append(steps, switchStep{args: []any{mode}, done: func() { r.is.Replica = want.Replica }})
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
	for _, l := range r.s.users.loginsOf(user) {
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
		if WrongPassword(refusal) {
			r.s.users.Spend(user, l.password, l.serial)
		}
	}
	return refusal, nil
}

// RESET and its reply. Servers before 6.2 lack RESET.
var (
	rawReset   = []byte("*1\r\n$5\r\nRESET\r\n")
	replyReset = "+RESET\r\n"
)

// Restore returns a connection in an unknown state to its identity, in two or three round trips. RESET ends
// transactions, subscriptions, MONITOR and tracking. Then the connection logs in like a new one. RESET is sent alone,
// because AUTH must not follow other commands.
func (s *Switcher) Restore(ctx context.Context, l *lane.Lane, id pool.Identity) error {
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
	r := &switching{s: s, conn: conn, is: pool.Identity{User: Nobody, Proto: 2}, anew: true, ask: func(commands [][]any) ([]error, error) {
		return askLane(ctx, l, commands)
	}}
	refusal, err := r.to(ctx, id)
	if err == nil {
		err = refusal
	}
	return err
}
