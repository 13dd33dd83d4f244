package respool

import (
	"context"
	"fmt"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/pool"
)

// What makes a connection a new one, and the answer. Servers before 6.2 do not know it.
var (
	rawReset   = []byte("*1\r\n$5\r\nRESET\r\n")
	replyReset = "+RESET\r\n"
)

// restore makes a connection in a state that nobody knows one of key again, in two round trips or three: RESET ends transactions,
// subscriptions, MONITOR and tracking, and then the connection logs in as a new one does. RESET goes alone, since
// AUTH must not be sent behind other commands.
func (g *guests) restore(ctx context.Context, l *lane.Lane, key pool.Key) error {
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
	r := &recasting{g: g, conn: conn, is: pool.Key{User: nobody, Proto: 2}, anew: true, ask: func(commands [][]any) ([]error, error) {
		return askLane(ctx, l, commands)
	}}
	refusal, err := r.to(ctx, key)
	if err == nil {
		err = refusal
	}
	return err
}
