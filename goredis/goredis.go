// Package goredis connects other Go clients of Redis to a respool.Client: go-redis, rueidis, redigo
// and all others with a configurable dial function. Each connection that they open is a session of
// a gateway in the same process, without a socket. Their commands share the few connections of the
// client, so the limits of their own pools no longer matter. The package is not for clients in
// other processes, which use respool serve. A Dialer owns the goroutines of its sessions; Close
// waits for them.
//
//	dialer, err := goredis.New(client)
//	if err != nil { ... }
//	defer dialer.Close(ctx)
//	rdb := redis.NewClient(&redis.Options{Dialer: dialer.DialContext})
//
// On a Redis Cluster, that client sees one server; the client of New routes the commands. NewCluster is for programs that
// use a cluster client, such as redis.NewClusterClient.
package goredis

import (
	"context"
	"fmt"
	"math"
	"net"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/gateway"
)

// Dialer opens connections in memory. It is safe for concurrent use. The caller must close it.
type Dialer struct{ g *gateway.Gateway }

// New returns a dialer on client. The caller still owns client and closes it after the dialer. New
// queries the server's version. It waits for the reply for one second, and then continues without
// it until the server answers.
//
// Connections without AUTH act as the user of client. The server verifies AUTH and HELLO. The
// client sends the commands after them as that user, within the same limit of connections.
func New(client *respool.Client) (*Dialer, error) { return newDialer(client, gateway.Config{}) }

// NewCluster is New for cluster clients. Its connections lead to a cluster with one node, so the
// client opens all of them through DialContext. client must be one of a Redis Cluster.
//
//	rdb := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{"any:1"}, Dialer: dialer.DialContext})
func NewCluster(client *respool.Client) (*Dialer, error) {
	return newDialer(client, gateway.Config{Face: gateway.FaceCluster, Announce: clusterNode})
}

// clusterNode is the address of the only node. DialContext ignores it.
const clusterNode = "respool:6379"

func newDialer(client *respool.Client, cfg gateway.Config) (*Dialer, error) {
	cfg.MaxClients, cfg.Admin, cfg.PassThrough = math.MaxInt32, true, true
	g, err := gateway.New(client.Engine(), cfg)
	if err != nil {
		return nil, fmt.Errorf("goredis: %w", err)
	}
	return &Dialer{g}, nil
}

// DialContext opens a connection, which the caller must close. It ignores network and addr: the
// client selects the server. It does not block.
func (d *Dialer) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	return d.g.DialContext(ctx)
}

// Close waits for pending replies until ctx ends, and closes all connections. It returns the error
// of ctx if replies were still pending.
func (d *Dialer) Close(ctx context.Context) error { return d.g.Shutdown(ctx) }
