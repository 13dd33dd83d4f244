package respool

import (
	"context"
	"fmt"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/pool"
	"github.com/seed-2b0d76a6/respool/resp"
)

// What makes a connection a new one, and the answer. Servers before 6.2 do not know it.
var (
	rawReset   = []byte("*1\r\n$5\r\nRESET\r\n")
	replyReset = "+RESET\r\n"
)

// restore makes a connection in a state that nobody knows one of key again, in two round trips: RESET ends transactions,
// subscriptions, MONITOR and tracking, and then the connection logs in as a new one does. RESET goes alone, since
// HELLO with a password must not be sent behind other commands.
func (g *guests) restore(ctx context.Context, l *lane.Lane, key pool.Key) error {
	frames, err := l.DoRaw(ctx, rawReset, 1, lane.Options{})
	switch {
	case err != nil:
		return err
	case string(frames[0]) != replyReset:
		return fmt.Errorf("RESET was answered with %.100q", frames[0])
	}
	l.Conn().SetProtocol(2)
	l.Conn().SetExpires(time.Time{})
	proto := g.protocol(key)
	hello := []any{"HELLO", proto}
	var as Credentials
	if opt := &g.c.opt; key.User != "" || opt.Username != "" || opt.Password != "" || g.c.renewer != nil {
		if as, err = g.credentials(ctx, key.User); err != nil {
			return err
		}
		hello = append(hello, "AUTH", as.Username, as.Password)
	}
	if name := g.c.opt.ClientName; name != "" {
		hello = append(hello, "SETNAME", name)
	}
	raw, err := resp.AppendCommand(nil, hello)
	if err != nil {
		return err
	}
	n := 1
	if db := g.db(key); db != 0 {
		raw, _ = resp.AppendCommand(raw, []any{"SELECT", db})
		n++
	}
	if frames, err = l.DoRaw(ctx, raw, n, lane.Options{}); err != nil {
		return err
	}
	for _, f := range frames {
		if err := (Reply{frame: f}).Err(); err != nil {
			return err
		}
	}
	l.Conn().SetProtocol(proto)
	l.Conn().SetExpires(as.Expires)
	return nil
}
