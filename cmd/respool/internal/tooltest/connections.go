package tooltest

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/connect"
	"github.com/seed-2b0d76a6/respool/internal/redistest"
)

// Crowd is many plain connections of one service.
type Crowd struct {
	T    *testing.T
	Addr string
	Name string
	Open []net.Conn
}

// Add opens n more, and reports how many were let in.
func (c *Crowd) Add(n int) (in int) {
	for range n {
		conn, err := net.Dial("tcp", c.Addr)
		if err != nil {
			c.T.Error(err)
			return in
		}
		_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
		fmt.Fprintf(conn, "CLIENT SETNAME %s\r\n", c.Name)
		answer := make([]byte, 64)
		if k, _ := conn.Read(answer); !strings.HasPrefix(string(answer[:k]), "+OK") {
			conn.Close()
			continue
		}
		in++
		c.Open = append(c.Open, conn)
	}
	return in
}

func (c *Crowd) Close() {
	for _, conn := range c.Open {
		conn.Close()
	}
	c.Open = nil
}

// Hold opens connections by this name, and has some of them block.
func Hold(t *testing.T, s *redistest.Server, name string, n, blocked int) {
	t.Helper()
	opt, err := respool.ParseURL(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	opt.ClientName, opt.MaxConnections, opt.Lanes = name, n, 1
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
