// Package connect makes the short-lived connections of commands, and describes
// servers in words. It is not for the gateway, which keeps its own client. It
// starts no goroutines.
package connect

import (
	"cmp"
	"context"
	"time"

	"github.com/seed-2b0d76a6/respool"
)

// The limits of a close: of a server that answers, and of one that did not.
const (
	closeLimit = 5 * time.Second
	leaveLimit = 200 * time.Millisecond
)

// Close closes a client within a few seconds.
func Close(c *respool.Client) { closeWithin(c, closeLimit) }

func closeWithin(c *respool.Client, limit time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	_ = c.Close(ctx)
}

// Place names the server or the service that options lead to.
func Place(o *respool.Options) string {
	if o.Sentinel != nil {
		return "service " + o.Service
	}
	if o.Cluster != nil && len(o.Cluster.Addrs) > 0 {
		return "the cluster of " + o.Cluster.Addrs[0]
	}
	return cmp.Or(o.Addr, "localhost:6379")
}
