package main

import (
	"context"
	"net"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/goredis"
)

// dial is the type of go-redis' option Dialer.
type dial func(ctx context.Context, network, addr string) (net.Conn, error)

// openDialer returns a dial function of connections in memory that share the lanes of a respool
// client, and a function that closes both.
func openDialer(ctx context.Context, addr string, connections int) (dial, func(), error) {
	client, err := respool.New(respool.Options{Addr: addr, MaxConnections: connections})
	if err != nil {
		return nil, nil, err
	}
	if err := client.Warm(ctx); err != nil {
		return nil, nil, err
	}
	d, err := goredis.New(client)
	if err != nil {
		return nil, nil, err
	}
	return d.DialContext, func() {
		_ = d.Close(ctx)
		_ = client.Close(ctx)
	}, nil
}
