package engine

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/pool"
	"github.com/seed-2b0d76a6/respool/internal/wire"
)

func TestADepartedNodeLeavesItsCountersAlone(t *testing.T) {
	refused := errors.New("connection refused")
	s := newNodes(func(addr string, _ *wire.Peer, _ bool) *pool.Pool {
		return pool.New(pool.Config{
			Addr: addr, Max: 1, Lanes: 1, WaitTimeout: time.Second,
			DialParallel: 1, DialRate: 100, BackoffBase: time.Millisecond, BackoffCap: time.Millisecond,
			Dial: func(context.Context, context.Context, Identity) (*wire.Conn, error) { return nil, refused },
		})
	}, 1)
	s.use("a:1")
	n := s.byAddr("a:1")
	if err := n.pool.Warm(context.Background()); !errors.Is(err, refused) {
		t.Fatal(err)
	}
	for end := time.Now().Add(20 * time.Second); !n.pool.Empty(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the pool is not empty")
		}
	}
	s.forget(n)
	if left := s.past(); left.DialFailures == 0 || left.LastDialError != nil || len(s.list()) != 0 {
		t.Errorf("%d failed dials, last error %v, %d nodes: want the count alone", left.DialFailures, left.LastDialError, len(s.list()))
	}
}
