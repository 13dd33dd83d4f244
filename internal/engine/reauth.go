package engine

import (
	"cmp"
	"context"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/command"
	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/pool"
	"github.com/seed-2b0d76a6/respool/internal/topology/discovery"
	"github.com/seed-2b0d76a6/respool/internal/wire"
)

// ownConnections are an engine's connections to its nodes as its own user. Connections of the gateway's pass-through
// users are not included: their credentials do not expire.
type ownConnections struct{ e *Engine }

func (o ownConnections) earliest() (first time.Time) {
	for _, n := range o.e.nodes.list() {
		if at := n.pool.Earliest(); !at.IsZero() && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	return first
}

func (o ownConnections) reauthenticate(ctx context.Context, as Credentials, pause func(context.Context)) (done int, failed []error) {
	due, args := endsBefore(as.Expires), as.auth()
	how := pool.Reauth{Due: due, Pause: pause, Auth: func(ctx context.Context, l *lane.Lane, opt lane.Options) error {
		return reauthenticateLane(ctx, l, opt, args, as.Expires)
	}}
	for _, n := range o.e.nodes.list() {
		d, errs := n.pool.Reauthenticate(ctx, how)
		done += d
		for _, err := range errs {
			failed = append(failed, WrapError(err))
		}
	}
	ctx, cancel := context.WithTimeout(ctx, reauthLimit)
	defer cancel()
	for _, on := range []func(context.Context, func(*wire.Conn) bool, []any) (time.Time, *wire.Conn, error){
		o.e.hub.Reauthenticate, o.e.waits.watcher.Reauthenticate,
	} {
		was, conn, err := on(ctx, due, args)
		switch {
		case err != nil:
			failed = append(failed, WrapError(err))
		case conn != nil:
			conn.Renewed(was, as.Expires)
			done++
		}
	}
	return done, failed
}

// reauthenticateLane sends AUTH while the lane has no other command. It sends nothing if the connection's credentials
// have changed by then.
func reauthenticateLane(ctx context.Context, l *lane.Lane, opt lane.Options, args []any, until time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, reauthLimit)
	defer cancel()
	conn := l.Conn()
	was := conn.Expires()
	frame, err := l.DoAloneIf(ctx, args, opt, func() bool { return conn.Expires().Equal(was) })
	if err == nil {
		if err = errorOf(frame); err != nil {
			return &wire.Error{Op: "authenticate again at", Addr: conn.Addr(), Sent: true, Err: err}
		}
		conn.Renewed(was, until)
	}
	return err
}

// catchUp sends AUTH on a leased connection that the last renewal found busy, before its holder uses it. After a
// failure the next renewal tries again and reports.
func (r *renewer) catchUp(ctx context.Context, l *lane.Lane) {
	if r == nil {
		return
	}
	if as := r.offered.Load(); as != nil && endsBefore(as.Expires)(l.Conn()) {
		if reauthenticateLane(ctx, l, lane.Options{}, as.auth(), as.Expires) == nil {
			r.mu.Lock()
			r.count.Renewals++
			r.mu.Unlock()
		}
	}
}

// endsBefore selects the connections whose credentials expire before until; a zero until: never expires.
func endsBefore(until time.Time) func(*wire.Conn) bool {
	return func(conn *wire.Conn) bool {
		at := conn.Expires()
		return !at.IsZero() && (until.IsZero() || at.Before(until))
	}
}

func (o ownConnections) replaceExpired() {
	for _, n := range o.e.nodes.list() {
		n.pool.ReplaceExpired(time.Now())
	}
}

// renewed emits the event of a renewal.
func (e *Engine) renewed(event Event) {
	event.Addr = cmp.Or(event.Addr, e.cfg.place())
	e.emit(event)
}

// sentinelLinks are the connections to a set of sentinels.
type sentinelLinks struct{ s *Sentinels }

func (l sentinelLinks) earliest() (first time.Time) {
	l.s.links.Each(func(conn discovery.Conn) {
		if at := conn.(*wire.Conn).Expires(); !at.IsZero() && (first.IsZero() || at.Before(first)) {
			first = at
		}
	})
	return first
}

func (l sentinelLinks) reauthenticate(ctx context.Context, as Credentials, pause func(context.Context)) (done int, failed []error) {
	due := endsBefore(as.Expires)
	l.s.links.Each(func(conn discovery.Conn) {
		c := conn.(*wire.Conn)
		was := c.Expires()
		if !due(c) {
			return
		}
		turn, cancel := context.WithTimeout(ctx, l.s.cfg.Timeout)
		defer cancel()
		if err := l.s.links.Reauthenticate(turn, conn, as.auth()); err != nil {
			failed = append(failed, &wire.Error{Op: "authenticate again at sentinel", Addr: c.Addr(), Err: err})
			return
		}
		c.Renewed(was, as.Expires)
		done++
		pause(ctx)
	})
	return done, failed
}

// replaceExpired closes expired connections. The sentinel machine dials new ones.
func (l sentinelLinks) replaceExpired() {
	l.s.links.Each(func(conn discovery.Conn) {
		if at := conn.(*wire.Conn).Expires(); !at.IsZero() && !at.After(time.Now()) {
			l.s.links.Redial(conn)
		}
	})
}

// renewed emits an event to all engines.
func (s *Sentinels) renewed(e Event) {
	for _, user := range s.engines() {
		user.renewed(e)
	}
}

// Credentials are a user and a password or token. They must not be logged.
type Credentials struct {
	Username string // empty: the default user
	Password string
	Expires  time.Time // zero: never
}

// auth returns the AUTH command for the credentials.
func (c Credentials) auth() []any {
	if c.Username == "" {
		return []any{"AUTH", c.Password}
	}
	return []any{"AUTH", c.Username, c.Password}
}

// login returns a function that obtains the credentials of a dial, in the form that package wire needs. It returns
// nil without a provider.
func (r *renewer) login() func(ctx context.Context) (user, password string, expires time.Time, err error) {
	if r == nil {
		return nil
	}
	return func(ctx context.Context) (string, string, time.Time, error) {
		c, err := r.ask(ctx)
		return c.Username, c.Password, c.Expires, err
	}
}

// ownCredentials returns the credentials of the engine's own user.
func (e *Engine) ownCredentials(ctx context.Context) (Credentials, error) {
	own := Credentials{Username: e.cfg.Dial.Username, Password: e.cfg.Dial.Password}
	var err error
	if e.renewer != nil {
		own, err = e.renewer.ask(ctx)
	}
	own.Username = cmp.Or(own.Username, command.DefaultUser) // AUTH without a user name may refer to another user
	return own, err
}
