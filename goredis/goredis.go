// Package goredis puts other Go clients of Redis onto the connections of a respool.Client:
// go-redis, rueidis, redigo and all that let their dial function be set. Each connection that they
// open is a session of a gateway in the same process, without a socket; what they send shares the
// client's few connections. So their own pools bound nothing any more, and need not.
//
//	dialer, err := goredis.New(client)
//	if err != nil { ... }
//	defer dialer.Close(ctx)
//	rdb := redis.NewClient(&redis.Options{Dialer: dialer.DialContext})
package goredis

import (
	"context"
	"fmt"
	"math"
	"net"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/gateway"
)

// Dialer makes connections in memory. It is safe for concurrent use, and has to be closed.
type Dialer struct{ g *gateway.Gateway }

// New makes a dialer onto client, which it does not own. It asks the server for its
// version, waits for a second at most, and else goes on without until there is an answer.
//
// A connection on which nobody authenticates is the user's that client is. AUTH and HELLO are
// verified by the server, and what follows goes out as that user, within the same bound.
func New(client *respool.Client) (*Dialer, error) {
	g, err := gateway.New(client, gateway.Config{MaxClients: math.MaxInt32, Admin: true, PassThrough: true})
	if err != nil {
		return nil, fmt.Errorf("goredis: %w", err)
	}
	return &Dialer{g}, nil
}

// DialContext makes a connection. network and addr are ignored: the client decides which
// server it leads to. It does not block.
func (d *Dialer) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	return d.g.DialContext(ctx)
}

// Close lets what was sent be answered until ctx ends, and closes all connections. It
// returns the error of ctx if something had to be cut.
func (d *Dialer) Close(ctx context.Context) error { return d.g.Shutdown(ctx) }
