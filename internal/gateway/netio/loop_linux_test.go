package netio

import (
	"context"
	"io"
	"log/slog"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/testkit"
)

// counting is a host that counts the clients of each loop. They answer nothing.
type counting struct {
	bareHost
	clients [4]atomic.Int32 // by number of the loop
	total   atomic.Int64
}

func (h *counting) Log() *slog.Logger               { return slog.New(slog.DiscardHandler) }
func (h *counting) HandshakeTimeout() time.Duration { return time.Minute }

func (h *counting) Admit(l Link, loop int, _, _ string) (Client, []byte) {
	c := &silentClient{of: &h.clients[loop]}
	c.of.Add(1)
	c.out.Init(l, c, &h.total)
	return c, nil
}

type silentClient struct {
	Client
	out Output
	of  *atomic.Int32
}

func (c *silentClient) Input([]byte, *FlushBatch) bool { return true }
func (c *silentClient) Room(b []byte) []byte           { return b }
func (c *silentClient) HangUp()                        {}
func (c *silentClient) Ended()                         { c.out.End() }
func (c *silentClient) Left()                          { c.of.Add(-1) }

// are reports whether the loops have these numbers of clients.
func (h *counting) are(first, second, third int32) bool {
	return h.clients[1].Load() == first && h.clients[2].Load() == second && h.clients[3].Load() == third
}

func TestAClientGoesToTheLoopWithTheFewest(t *testing.T) {
	h := &counting{}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	s := NewServer(h, 3)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	var conns []net.Conn
	dial := func(n int) {
		for range n {
			c, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			conns = append(conns, c)
		}
	}
	dial(6)
	testkit.Eventually(t, "each loop has two clients", func() bool { return h.are(2, 2, 2) })
	for _, i := range []int{1, 4} { // of the second loop
		_ = conns[i].Close()
	}
	testkit.Eventually(t, "the second loop has none", func() bool { return h.are(2, 0, 2) })
	dial(2)
	testkit.Eventually(t, "the second loop has two again", func() bool { return h.are(2, 2, 2) })
	for _, c := range conns {
		_ = c.Close()
	}
	testkit.Eventually(t, "all have left", func() bool { return h.are(0, 0, 0) })
	s.StopAccepting()
	h.cancel()
	s.Close()
	if err := <-served; err != nil && err != io.EOF {
		t.Error(err)
	}
}
