package respool

import (
	"context"

	"github.com/seed-2b0d76a6/respool/internal/engine"
)

// Conn is a dedicated connection, leased to one caller, for commands that need state on it: WATCH,
// MULTI, SELECT, CLIENT settings, WAIT. Blocking commands of a Conn block on its connection. It is
// not safe for concurrent use. The holder must call Release or Destroy.
//
// Release keeps the connection if its state is unchanged. After a command with an unknown effect,
// Release resets the connection and authenticates it again, if the server knows RESET. Otherwise it
// closes the connection. The client does not replace a broken connection of a Conn: its holder gets
// the errors.
type Conn struct{ conn engine.Conn }

// Acquire leases a connection. In a cluster it is a connection to the node that serves keys, which
// must lie in one slot; without keys, to any node. Its holder gets MOVED and ASK errors when a slot
// moves. Outside a cluster keys have no effect. It waits in the order of the callers; ctx and Options.WaitTimeout
// limit the wait. At most MaxConnections-1 connections are leased at a time, because the pool keeps
// one place for a lane. With MaxConnections 1, the only connection is a lane and leased in turn.
func (c *Client) Acquire(ctx context.Context, keys ...string) (*Conn, error) {
	conn := &Conn{}
	if err := c.engine.Acquire(ctx, &conn.conn, keys...); err != nil {
		return nil, wrapError(err)
	}
	return conn, nil
}

// Release returns the connection to the pool. Another call does nothing.
func (conn *Conn) Release() { conn.conn.Release() }

// Destroy closes the connection instead of returning it to the pool.
func (conn *Conn) Destroy() { conn.conn.Destroy() }

// Do sends one command on this connection and waits for its reply, with the limits of Client.Do.
// Stateful commands are allowed. It refuses SUBSCRIBE, MONITOR and other commands that a server
// does not answer with exactly one reply. It refuses AUTH and HELLO inside MULTI and while replies
// are pending. It never resends a command.
func (conn *Conn) Do(ctx context.Context, args ...any) Reply {
	frame, err := conn.conn.Do(ctx, args)
	return Reply{frame: frame, err: wrapError(err)}
}

// Pipeline returns an empty pipeline that uses this connection. It accepts stateful commands,
// except AUTH and HELLO: a server may leave these unanswered among other commands.
func (conn *Conn) Pipeline() *Pipeline { return &Pipeline{conn.conn.Batch()} }
