package e2e_test

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/testkit/fakeserver"
)

// paths dials connections in memory and can make all open ones dead.
type paths struct {
	s     *fakeserver.Server
	mu    sync.Mutex
	conns []*deadPath
}

// deadPath is a connection that drops all bytes while it is dead.
type deadPath struct {
	net.Conn
	dead atomic.Bool
}

func (p *paths) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := p.s.Dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	c := &deadPath{Conn: conn}
	p.conns = append(p.conns, c)
	return c, nil
}

func (p *paths) swallow() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		c.dead.Store(true)
	}
}

func (c *deadPath) Write(b []byte) (int, error) {
	if c.dead.Load() {
		return len(b), nil
	}
	return c.Conn.Write(b)
}

// Every open connection goes dead, and new ones work. On the fake clock, commands succeed again within 1.2 stall limits, for any
// number of lanes, and even if the limit leaves no place for a probe.
func TestADeadPathCostsLittleMoreThanAStallLimit(t *testing.T) {
	const stall = 10 * time.Second
	for _, lanes := range []int{1, 2, 4, 8} {
		for _, spare := range []int{0, 1, 8} {
			for _, protocol := range []int{2, 3} {
				t.Run(fmt.Sprintf("%d lanes of %d, RESP%d", lanes, lanes+spare, protocol), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						s := fakeserver.Start(t, fakeserver.Config{Memory: true})
						p := &paths{s: s}
						c, err := respool.New(respool.Options{Addr: "memory:1", Dialer: p.dial, Protocol: protocol, Lanes: lanes,
							MaxConnections: lanes + spare, StallLimit: stall, SocketTimeout: stall / 16, WaitTimeout: stall / 16})
						if err != nil {
							t.Fatal(err)
						}
						ctx := context.Background()
						if err := c.Warm(ctx); err != nil {
							t.Fatal(err)
						}
						p.swallow()
						began := time.Now()
						var first atomic.Int64
						var callers sync.WaitGroup
						for i := range 32 {
							callers.Go(func() {
								for c.Do(ctx, "SET", fmt.Sprint("k", i), i).Err() != nil && time.Since(began) < 10*stall {
									time.Sleep(time.Millisecond) // an error may take no time on the fake clock
								}
								first.CompareAndSwap(0, int64(time.Since(began)))
							})
						}
						callers.Wait()
						took := time.Duration(first.Load())
						t.Logf("the first success came after %.2f stall limits", took.Seconds()/stall.Seconds())
						if took > stall*12/10 {
							t.Errorf("the first success came after %v: want %v at most", took, stall*12/10)
						}
						if err := c.Close(ctx); err != nil {
							t.Error(err)
						}
						s.Close()
					})
				})
			}
		}
	}
}
