package lane_test

import (
	"bytes"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/seed-2b0d76a6/respool/internal/lane"
)

// fixed answers commands that are all of one size, and allocates nothing.
func fixed(reply string) func(*peer) {
	return func(p *peer) {
		const size = len("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n")
		in := make([]byte, 64<<10)
		out := bytes.Repeat([]byte(reply), len(in)/size+1)
		for have := 0; ; {
			n, err := p.in.Read(in)
			if err != nil {
				return
			}
			have += n
			if _, err := p.Write(out[:have/size*len(reply)]); err != nil {
				return
			}
			have %= size
		}
	}
}

func BenchmarkDo(b *testing.B) {
	for _, reply := range []string{"+OK\r\n", bulk("0123456789012345678901234567890123456789012345678901234567890123")} {
		for _, callers := range []int{1, 2, 8, 64, 1024} {
			b.Run(reply[:1]+"/callers="+strconv.Itoa(callers), func(b *testing.B) {
				cfg := config()
				cfg.Window = 16384
				k := connect(b, overTCP, cfg, fixed(reply))
				defer k.close()
				b.ReportAllocs()
				b.ResetTimer()
				var left atomic.Int64
				left.Store(int64(b.N))
				var wg sync.WaitGroup
				for range callers {
					wg.Go(func() {
						for left.Add(-1) >= 0 {
							if _, err := k.Do(background, []any{"SET", "k", "v"}, lane.Options{}); err != nil {
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
}

func BenchmarkDoRaw(b *testing.B) {
	for _, n := range []int{1, 10, 100, 1000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			k := connect(b, overTCP, config(), fixed("$5\r\nhello\r\n"))
			defer k.close()
			raw := bytes.Repeat([]byte("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n"), n)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := k.DoRaw(background, raw, n, lane.Options{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkBigReply(b *testing.B) {
	for _, size := range []int{16 << 10, 1 << 20, 20 << 20} {
		b.Run(strconv.Itoa(size), func(b *testing.B) {
			k := connect(b, overTCP, config(), answer(bulk(string(make([]byte, size)))))
			defer k.close()
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := k.do("GET", "k"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
