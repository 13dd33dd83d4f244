package engine

import (
	"cmp"
	"context"
	"crypto/subtle"
	"errors"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/command"
	"github.com/seed-2b0d76a6/respool/internal/identity"
	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/pool"
	"github.com/seed-2b0d76a6/respool/internal/pubsub"
	"github.com/seed-2b0d76a6/respool/internal/renewal"
	"github.com/seed-2b0d76a6/respool/resp"
)

// longestLogin is the longest name or password that a server accepts before authentication: it closes the connection
// at a longer one.
const longestLogin = 16 << 10

var errWrongPassword = resp.NewServerError("WRONGPASS invalid username-password pair or user is disabled.")

// Logins verifies the passwords of the gateway's clients, and keeps the users that they log in as. All methods are safe
// for concurrent use.
type Logins struct{ e *Engine }

// Logins returns the engine's Logins.
func (e *Engine) Logins() Logins { return Logins{e} }

// Verify verifies a password with the server and returns the user for an Identity: empty for the engine's own user,
// else the user's name. Without a user the password belongs to the default user. The engine keeps the user until
// Leave was called once for each successful Verify. If the server refuses, the error is a *resp.ServerError. It
// blocks for the server's reply.
//
// It sends AUTH on a connection that serves only logins.
func (l Logins) Verify(ctx context.Context, user, password string) (string, error) {
	if len(user) > longestLogin || len(password) > longestLogin {
		return "", errWrongPassword
	}
	args := []any{"AUTH", user, password}
	if user == "" {
		args, user = []any{"AUTH", password}, command.DefaultUser
	}
	before := l.e.users.Serial()
	if err := l.send(ctx, args); err != nil {
		if identity.WrongPassword(err) {
			l.e.users.Spend(user, password, before)
		}
		return "", err
	}
	if l.IsOwn(user, password) {
		return "", nil
	}
	l.e.users.Enter(user, password)
	for _, n := range l.e.nodes.list() {
		n.pool.Forgive(user) // earlier refusals do not apply any more
		n.pool.Confirm(ctx, user)
	}
	return user, nil
}

// send sends AUTH alone: a server may not reply to it behind other commands.
func (l Logins) send(ctx context.Context, auth []any) error {
	got := l.e.exchange(ctx, Identity{User: identity.Nobody}, request{reads: true}, nil, func(on *lane.Lane, _ []byte, _ int, opt lane.Options) ([][]byte, error) {
		opt.NoTimeout = l.e.cfg.NoReplyTimeout
		frame, err := on.DoAlone(ctx, auth, opt)
		return [][]byte{frame}, err
	})
	if got.err == nil {
		return errorOf(got.frames[0])
	}
	if se, ok := errors.AsType[*resp.ServerError](got.err); ok {
		return se
	}
	return WrapError(got.err)
}

// Leave removes a client of the user. It does not block.
func (l Logins) Leave(user string) { l.e.users.Leave(user) }

// OnDisowned registers fn for users that have clients but no connections, because the server refuses them: they were
// deleted or disabled, or their password changed. cancel removes fn. Close waits for running calls of fn, except within
// fn itself.
func (l Logins) OnDisowned(fn func(user string)) (cancel func()) {
	return l.e.users.Watch(func(user string) { l.e.call(func() { fn(user) }) })
}

// IsOwn reports whether these are the engine's own user and password, if those are known. It compares in constant
// time.
func (l Logins) IsOwn(user, password string) bool {
	own := l.e.identities.Login()
	return l.HasPassword() && user == cmp.Or(own.Username, command.DefaultUser) &&
		subtle.ConstantTimeCompare([]byte(password), []byte(own.Password)) == 1
}

// HasPassword reports whether the engine has a fixed password.
func (l Logins) HasPassword() bool {
	return l.e.identities.Login().Password != "" && l.e.cfg.Credentials == nil
}

// OwnUser returns the engine's own user; empty if a provider returns the credentials.
func (l Logins) OwnUser() string {
	if l.e.cfg.Credentials != nil {
		return ""
	}
	return cmp.Or(l.e.identities.Login().Username, command.DefaultUser)
}

// ownConnections are an engine's connections to its nodes as its own user. Connections of the gateway's pass-through
// users are not included: their credentials do not expire.
type ownConnections struct{ e *Engine }

func (o ownConnections) Earliest() (first time.Time) {
	for _, n := range o.e.nodes.list() {
		if at := n.pool.Earliest(); !at.IsZero() && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	return first
}

func (o ownConnections) Reauthenticate(ctx context.Context, as renewal.Credentials, pause func(context.Context)) (done int, failed []error) {
	how := pool.Reauth{Due: as.Outlast, Pause: pause, Auth: as.Reauthenticate}
	for _, n := range o.e.nodes.list() {
		d, errs := n.pool.Reauthenticate(ctx, how)
		done += d
		for _, err := range errs {
			failed = append(failed, WrapError(err))
		}
	}
	ctx, cancel := context.WithTimeout(ctx, renewal.Limit)
	defer cancel()
	outcomes := o.e.hub.Reauthenticate(ctx, as.Outlast, as.Auth())
	for _, w := range o.e.waits.keys.Watchers() {
		was, conn, err := w.Reauthenticate(ctx, as.Outlast, as.Auth())
		outcomes = append(outcomes, pubsub.Reauthenticated{Conn: conn, Was: was, Err: err})
	}
	for _, out := range outcomes {
		switch {
		case out.Err != nil:
			failed = append(failed, WrapError(out.Err))
		case out.Conn != nil:
			out.Conn.Renewed(out.Was, as.Expires)
			done++
		}
	}
	return done, failed
}

func (o ownConnections) ReplaceExpired() {
	for _, n := range o.e.nodes.list() {
		n.pool.ReplaceExpired(time.Now())
	}
}
