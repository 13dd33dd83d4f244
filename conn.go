package respool

import (
	"context"

	"github.com/seed-2b0d76a6/respool/internal/engine"
)

// Conn is a connection lent to one caller, for what needs state on it: WATCH,
// MULTI, SELECT, CLIENT settings, WAIT. It is not safe for concurrent use, and
// has to be given back with Release.
//
// Release keeps the connection if its state is as it was, and closes it if
// not. After a command of which nothing is known it is reset and logged in anew, if the server knows RESET. A connection that broke stays broken: its holder gets the errors.
type Conn struct{ conn *engine.Conn }

// Acquire lends a connection. It waits in line behind those who came first,
// bounded by ctx and Options.WaitTimeout. At most MaxConnections-1 are lent at
// a time, since one is kept for shared use, but with MaxConnections 1 the only
// one is lent in turn.
func (c *Client) Acquire(ctx context.Context) (*Conn, error) {
	conn, err := c.engine.Acquire(ctx)
	if err != nil {
		return nil, wrapError(err)
	}
	return &Conn{conn}, nil
}

// Release gives the connection back. Calling it again does nothing.
func (conn *Conn) Release() { conn.conn.Release() }

// Destroy closes the connection instead of giving it back.
func (conn *Conn) Destroy() { conn.conn.Destroy() }

// Do sends one command on this connection and waits for its reply, as
// Client.Do does. Stateful commands are allowed; those of subscriptions, MONITOR
// and others that a server does not answer with one reply are not, and AUTH and
// HELLO not inside MULTI, nor while replies are due. Nothing is ever sent again.
func (conn *Conn) Do(ctx context.Context, args ...any) Reply {
	frame, err := conn.conn.Do(ctx, args)
	return Reply{frame: frame, err: wrapError(err)}
}

// Pipeline makes an empty pipeline whose commands go out on this connection.
// Stateful commands are allowed in it, except for AUTH and HELLO: among others
// a server may leave them unanswered.
func (conn *Conn) Pipeline() *Pipeline { return &Pipeline{conn.conn.Batch()} }
