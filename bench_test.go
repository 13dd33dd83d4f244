package respool_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

func benchClient(b *testing.B) *respool.Client {
	b.Helper()
	s := redistest.Start(b, redistest.Config{})
	opt, err := respool.ParseURL(s.URL())
	if err != nil {
		b.Fatal(err)
	}
	c, err := respool.New(opt)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = c.Close(context.Background()) })
	ctx := context.Background()
	if err := c.Warm(ctx); err != nil {
		b.Fatal(err)
	}
	if err := c.Do(ctx, "SET", "key", strings.Repeat("x", 64)).Err(); err != nil {
		b.Fatal(err)
	}
	return c
}

// share splits b.N operations among callers.
func share(b *testing.B, callers int, op func() error) {
	b.ReportAllocs()
	b.ResetTimer()
	var wg sync.WaitGroup
	for i := range callers {
		n := b.N / callers
		if i < b.N%callers {
			n++
		}
		wg.Go(func() {
			for range n {
				if err := op(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

var callers = []int{1, 2, 8, 64, 1024}

func BenchmarkGet(b *testing.B) {
	c := benchClient(b)
	ctx := context.Background()
	for _, n := range callers {
		b.Run(fmt.Sprintf("callers-%d", n), func(b *testing.B) {
			share(b, n, func() error {
				_, err := c.Do(ctx, "GET", "key").Text()
				return err
			})
		})
	}
}

func BenchmarkSet(b *testing.B) {
	c := benchClient(b)
	ctx := context.Background()
	value := strings.Repeat("x", 64)
	for _, n := range callers {
		b.Run(fmt.Sprintf("callers-%d", n), func(b *testing.B) {
			share(b, n, func() error { return c.Do(ctx, "SET", "key", value).Err() })
		})
	}
}

// With a ctx that can end, as a service's requests have it.
func BenchmarkGetUnderContext(b *testing.B) {
	c := benchClient(b)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for _, n := range callers {
		b.Run(fmt.Sprintf("callers-%d", n), func(b *testing.B) {
			share(b, n, func() error { return c.Do(ctx, "GET", "key").Err() })
		})
	}
}

func BenchmarkPipelineOf100(b *testing.B) {
	c := benchClient(b)
	ctx := context.Background()
	for _, n := range []int{1, 8} {
		b.Run(fmt.Sprintf("callers-%d", n), func(b *testing.B) {
			b.ReportAllocs()
			var wg sync.WaitGroup
			for range n {
				wg.Go(func() {
					p := c.Pipeline()
					for range b.N / 100 / n {
						for range 100 {
							p.Do("GET", "key")
						}
						if _, err := p.Exec(ctx); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
		})
	}
}

func BenchmarkDedicated(b *testing.B) {
	c := benchClient(b)
	ctx := context.Background()
	for _, n := range []int{1, 200} {
		b.Run(fmt.Sprintf("callers-%d", n), func(b *testing.B) {
			share(b, n, func() error {
				conn, err := c.Acquire(ctx)
				if err != nil {
					return err
				}
				defer conn.Release()
				return conn.Do(ctx, "GET", "key").Err()
			})
		})
	}
}
