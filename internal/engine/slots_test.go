package engine

import (
	"context"
	"math"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/seed-2b0d76a6/respool/internal/pool"
	"github.com/seed-2b0d76a6/respool/internal/testkit/fakeserver"
	"github.com/seed-2b0d76a6/respool/internal/wire"
)

// bubble hides the deadline of a test, which is not available in a synctest bubble.
type bubble struct{ *testing.T }

// readersIn returns the replicas with an open lane, without shun and those beyond a latency.
func readersIn(of *shard, shun *node, farthest int64) map[*node]bool {
	in := map[*node]bool{}
	for _, n := range of.readers {
		if n.pool.Readers().Pick(pool.Any) != nil && n != shun && n.latency.Load() <= farthest {
			in[n] = true
		}
	}
	return in
}

// A read goes to a replica with an open lane that did not fail just now, to a near one if there is one, and in turn.
// Otherwise the primary takes it if the role allows that.
func TestReadersTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := fakeserver.Start(t, fakeserver.Config{Memory: true})
		open := func() *pool.Pool {
			return pool.New(pool.Config{
				Addr: "memory", Max: 2, Lanes: 1, WaitTimeout: time.Second, DialParallel: 1, DialRate: 1e6, BackoffBase: time.Hour, BackoffCap: time.Hour,
				Dial: func(ctx, cut context.Context, _ Identity) (*wire.Conn, error) {
					return wire.Dial(ctx, cut, &wire.Config{Network: "tcp", Addr: "memory", Peer: &wire.Peer{}, DialFunc: server.Dial})
				},
			})
		}
		primary := &node{addr: "primary"}
		var all []*node // those with odd numbers have a lane
		for i := range 8 {
			n := &node{pool: open()}
			if i%2 == 1 {
				if err := n.pool.Readers().WarmLanes(t.Context(), 1); err != nil {
					t.Fatal(err)
				}
			} else {
				n.wished.Store(time.Now().Add(time.Hour).UnixNano()) // it stays without one
			}
			all = append(all, n)
			defer n.pool.Close(context.Background())
		}
		rapid.Check(bubble{t}, func(r *rapid.T) {
			first := rapid.IntRange(0, len(all)).Draw(r, "first")
			of := &shard{primary: primary, readers: all[first:rapid.IntRange(first, len(all)).Draw(r, "last")], turn: &atomic.Uint32{}}
			role := rapid.SampledFrom([]Role{Replica, PreferReplica}).Draw(r, "role")
			nearest := rapid.Bool().Draw(r, "nearest")
			var shun *node
			for _, n := range of.readers {
				n.latency.Store(int64(rapid.SampledFrom([]time.Duration{time.Millisecond, time.Second}).Draw(r, "latency")))
				if shun == nil && rapid.IntRange(0, 9).Draw(r, "shun") == 0 {
					shun = n
				}
			}
			best := readersIn(of, shun, farthestOf(of.readers, nearest))
			if len(best) == 0 {
				best = readersIn(of, shun, math.MaxInt64)
			}
			taken := map[*node]int{}
			const rounds = 5
			for range rounds * len(of.readers) {
				n, replica, yields := of.reader(&reading{shun: shun}, role, nearest)
				switch {
				case len(best) > 0:
					if !best[n] || !replica || yields != (role == PreferReplica) {
						r.Fatalf("%p, replica %v, yields %v: want one of %v", n, replica, yields, best)
					}
				case role == PreferReplica:
					if n != primary || replica || yields {
						r.Fatalf("%p, replica %v, yields %v: want the primary", n, replica, yields)
					}
				case n == nil || !replica || yields:
					r.Fatalf("%p, replica %v, yields %v: want a replica whose lane is awaited", n, replica, yields)
				}
				taken[n]++
			}
			for n := range best {
				if taken[n] < rounds {
					r.Fatalf("of %d reads, one of %d replicas took %d", rounds*len(of.readers), len(best), taken[n])
				}
			}
			if len(of.readers) == 0 {
				if n, replica, _ := of.reader(&reading{}, role, nearest); replica || (n == primary) != (role == PreferReplica) {
					r.Fatalf("without replicas: %p, replica %v", n, replica)
				}
				return
			}
			one, _, _ := of.reader(&reading{shun: shun, turn: 7, fixed: true}, role, nearest)
			if other, _, _ := of.reader(&reading{shun: shun, turn: 7, fixed: true}, role, nearest); other != one {
				r.Fatal("reads of one turn go to two replicas")
			}
		})
	})
}
