//go:build unix

package tooltest

import (
	"context"
	"testing"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/connect"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// Hold opens n connections by this name. blocked of them block on the server, in BLPOP.
func Hold(t *testing.T, s *redistest.Server, name string, n, blocked int) {
	t.Helper()
	opt, err := respool.ParseURL(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	opt.ClientName, opt.MaxConnections, opt.Lanes, opt.Blocking = name, n, 1, respool.BlockingDedicated
	c, err := respool.New(opt)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() { connect.Close(c) })
	t.Cleanup(cancel)
	if err := c.Do(ctx, "PING").Err(); err != nil {
		t.Fatal(err)
	}
	for range blocked {
		go c.Do(ctx, "BLPOP", "none", 0)
	}
	for range n - 1 - blocked {
		conn, err := c.Acquire(ctx)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(conn.Release)
	}
}
