package engine

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/pool"
	"github.com/seed-2b0d76a6/respool/internal/wire"
)

var errRefused = errors.New("connection refused")

// refusingNodes are nodes that refuse all connections.
func refusingNodes() *nodes {
	return newNodes(func(addr string, _ *wire.Peer, suspended bool) *pool.Pool {
		return pool.New(pool.Config{
			Addr: addr, Max: 1, Lanes: 1, WaitTimeout: time.Second, Suspended: suspended,
			DialParallel: 1, DialRate: 100, BackoffBase: time.Millisecond, BackoffCap: time.Millisecond,
			Dial: func(context.Context, context.Context, Identity) (*wire.Conn, error) { return nil, errRefused },
		})
	}, 1)
}

func TestADepartedNodeLeavesItsCountersAlone(t *testing.T) {
	s := refusingNodes()
	s.use("a:1")
	n := s.byAddr("a:1")
	if err := n.pool.Warm(context.Background()); !errors.Is(err, errRefused) {
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

// leavingRouter is a router whose first node departs before Warm opens its connections.
type leavingRouter struct {
	router
	nodes  *nodes
	starts int
}

func (r *leavingRouter) start() {
	if r.starts++; r.starts == 2 {
		r.nodes.applyRoute(route{}, r.nodes.at([]string{"b:1"}), 0)
	}
}

func TestWarmFollowsARouteThatDropsANode(t *testing.T) {
	for _, closed := range []bool{false, true} {
		s := refusingNodes()
		e := &Engine{nodes: s, router: &leavingRouter{nodes: s}}
		e.closed.Store(closed)
		s.use("a:1")
		s.forget(s.byAddr("a:1"))
		want := errRefused // by the node that the route names now
		if closed {
			want = ErrClosed
		}
		if err := e.Warm(context.Background()); !errors.Is(err, want) {
			t.Errorf("closed %v: %v: want %v", closed, err, want)
		}
	}
}
