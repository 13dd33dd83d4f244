package pool_test

import (
	"context"
	"net"
	"testing"

	"github.com/seed-2b0d76a6/respool/internal/pool"
)

// benchPool is a pool with all its lanes open.
func benchPool(b *testing.B) *pool.Pool {
	b.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	j := &judge{listener: listener, conns: map[net.Conn]struct{}{}}
	j.done.Go(j.accept)
	cfg := j.config(8, 4, 1)
	cfg.IdleTimeout, cfg.MaxLifetime = 0, 0
	p := pool.New(cfg)
	if err := p.Warm(context.Background()); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = p.Close(context.Background())
		j.stop()
	})
	return p
}

func BenchmarkPick(b *testing.B) {
	p := benchPool(b)
	b.ReportAllocs()
	for b.Loop() {
		if p.Pick(pool.Any) == nil {
			b.Fatal("no lane")
		}
	}
}

func BenchmarkPickByMany(b *testing.B) {
	p := benchPool(b)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			p.Pick(pool.Any)
		}
	})
}

func BenchmarkAcquire(b *testing.B) {
	p := benchPool(b)
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		c, err := p.Acquire(ctx)
		if err != nil {
			b.Fatal(err)
		}
		c.Release()
	}
}
