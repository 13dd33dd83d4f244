package keywatch

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
	"github.com/seed-2b0d76a6/respool/resp"
)

// tally counts notifications, and sends one value when they are as many as wanted.
type tally struct {
	left atomic.Int64
	done chan struct{}
}

func (n *tally) Notify(string, error) {
	if n.left.Add(-1) == 0 {
		n.done <- struct{}{}
	}
}

func (n *tally) want(count int) { n.left.Store(int64(count)) }

// benchmarkCycles changes each of some keys and waits until all are notified, again and again. One operation is one
// change, its push, its EXISTS and its notification.
func benchmarkCycles(b *testing.B, keys int) {
	srv := redistest.Start(b, redistest.Config{})
	w := start(b, srv, Config{})
	ctx := context.Background()
	l, err := w.pool.Shared(ctx)
	if err != nil {
		b.Fatal(err)
	}
	l.Unreserve()
	n := &tally{done: make(chan struct{}, 1)}
	n.want(keys)
	var changes []byte
	for i := range keys {
		key := fmt.Sprint("k", i)
		if _, err := w.Watch(key, n); err != nil {
			b.Fatal(err)
		}
		changes, _ = resp.AppendCommand(changes, []any{"SET", key, "x"})
	}
	<-n.done
	before := w.Stats()
	b.ReportAllocs()
	b.ResetTimer()
	for done := 0; done < b.N; done += keys {
		n.want(keys)
		if keys == 1 {
			if _, err := l.Do(ctx, []any{"SET", "k0", "x"}, lane.Options{}); err != nil {
				b.Fatal(err)
			}
		} else if _, err := l.DoRaw(ctx, changes, keys, lane.Options{}); err != nil {
			b.Fatal(err)
		}
		<-n.done
	}
	b.StopTimer()
	after := w.Stats()
	b.ReportMetric(float64(after.Invalidations-before.Invalidations)/b.Elapsed().Seconds(), "cycles/s")
	b.ReportMetric(float64(after.Exists-before.Exists)/float64(after.Invalidations-before.Invalidations), "EXISTS/cycle")
}

func BenchmarkCycleOfOneKey(b *testing.B)    { benchmarkCycles(b, 1) }
func BenchmarkCycleOf10000Keys(b *testing.B) { benchmarkCycles(b, 10_000) }
