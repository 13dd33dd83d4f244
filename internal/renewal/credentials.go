package renewal

import (
	"context"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/wire"
	"github.com/seed-2b0d76a6/respool/resp"
)

// Credentials are a user and a password or token. They must not be logged.
type Credentials struct {
	Username string // empty: the default user
	Password string
	Expires  time.Time // zero: never
}

// Auth returns the AUTH command for the credentials.
func (c Credentials) Auth() []any {
	if c.Username == "" {
		return []any{"AUTH", c.Password}
	}
	return []any{"AUTH", c.Username, c.Password}
}

// Outlast reports whether conn's credentials expire before c.
func (c Credentials) Outlast(conn *wire.Conn) bool {
	at := conn.Expires()
	return !at.IsZero() && (c.Expires.IsZero() || at.Before(c.Expires))
}

// Limit limits the time for one connection to authenticate again: the wait for its turn, and for the reply.
const Limit = 5 * time.Second

// Reauthenticate sends AUTH while the lane has no other command. It sends nothing if the connection's credentials have
// changed by then.
func (c Credentials) Reauthenticate(ctx context.Context, l *lane.Lane, opt lane.Options) error {
	ctx, cancel := context.WithTimeout(ctx, Limit)
	defer cancel()
	conn := l.Conn()
	was := conn.Expires()
	frame, err := l.DoAloneIf(ctx, c.Auth(), opt, func() bool { return conn.Expires().Equal(was) })
	if err == nil {
		if refusal := resp.ErrorIn(frame); refusal != nil {
			return &wire.Error{Op: "authenticate again at", Addr: conn.Addr(), Sent: true, Err: refusal}
		}
		conn.Renewed(was, c.Expires)
	}
	return err
}

// CatchUp sends AUTH on a leased connection that the last renewal found busy, before its holder uses it. After a
// failure the next renewal tries again and reports.
func (r *Renewer) CatchUp(ctx context.Context, l *lane.Lane) {
	if r == nil {
		return
	}
	if as := r.offered.Load(); as != nil && as.Outlast(l.Conn()) {
		if as.Reauthenticate(ctx, l, lane.Options{}) == nil {
			r.mu.Lock()
			r.count.Renewals++
			r.mu.Unlock()
		}
	}
}

// Login returns a function that obtains the credentials of a dial, in the form that package wire needs. It returns nil
// for a nil Renewer.
func (r *Renewer) Login() func(ctx context.Context) (user, password string, expires time.Time, err error) {
	if r == nil {
		return nil
	}
	return func(ctx context.Context) (string, string, time.Time, error) {
		c, err := r.Ask(ctx)
		return c.Username, c.Password, c.Expires, err
	}
}
