package request_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/seed-2b0d76a6/respool/internal/gateway/request"
)

// BenchmarkNext reads chunks of whole requests: one operation is a request.
func BenchmarkNext(b *testing.B) {
	for _, c := range []struct {
		name string
		args []string
	}{
		{"GET", []string{"GET", "key:000000000001"}},
		{"SET64", []string{"SET", "key:000000000001", strings.Repeat("x", 64)}},
		{"SET1k", []string{"SET", "key:000000000001", strings.Repeat("x", 1024)}},
		{"MGET100", strings.Fields("MGET" + strings.Repeat(" key:000000000001", 100))},
	} {
		for _, pipelined := range []int{1, 16} {
			b.Run(fmt.Sprintf("%s/%d", c.name, pipelined), func(b *testing.B) {
				bench(b, strict(c.args), pipelined)
			})
		}
	}
	b.Run("inline/1", func(b *testing.B) { bench(b, "GET key:000000000001\r\n", 1) })
}

func bench(b *testing.B, in string, pipelined int) {
	run(b, request.Limits{}, []byte(strings.Repeat(in, pipelined)), pipelined, 1<<30)
}

// BenchmarkNextCut reads 16 KiB at a time, which cuts a request each time.
func BenchmarkNextCut(b *testing.B) {
	for _, size := range []int{64, 8 << 10, 1 << 20} {
		in := strict([]string{"SET", "key:000000000001", strings.Repeat("x", size)})
		requests := 1 + 1<<18/len(in)
		b.Run(fmt.Sprintf("SET%d", size), func(b *testing.B) {
			run(b, request.Limits{}, bytes.Repeat([]byte(in), requests), requests, 16<<10)
		})
		b.Run(fmt.Sprintf("SET%d/stream", size), func(b *testing.B) {
			run(b, request.Limits{Stream: 4 << 10}, bytes.Repeat([]byte(in), requests), requests, 16<<10)
		})
	}
}

// run reads n requests of in, repeatedly.
func run(b *testing.B, lim request.Limits, in []byte, requests, chunk int) {
	s := request.Scanner{Limits: lim}
	b.SetBytes(int64(len(in) / requests))
	b.ReportAllocs()
	for done := 0; done < b.N; done += requests {
		for rest := in; len(rest) > 0; {
			cut := min(len(rest), chunk)
			drain(b, &s, rest[:cut])
			rest = rest[cut:]
		}
	}
}
