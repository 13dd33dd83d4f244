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

// Close closes a client within a few seconds.
func Close(c *respool.Client) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_ = c.Close(ctx)
}

// Place names the server or the service that options lead to.
func Place(o *respool.Options) string {
	if o.Sentinel != nil {
		return "service " + o.Service
	}
	return cmp.Or(o.Addr, "localhost:6379")
}
