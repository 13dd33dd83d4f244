package request_test

import (
	"math/rand/v2"
	"testing"

	"github.com/seed-2b0d76a6/respool/internal/gateway/request"
)

// FuzzScanner splits any input anywhere. The requests and errors must equal those of the reference.
func FuzzScanner(f *testing.F) {
	for _, c := range streams {
		if len(c.in) < 1000 {
			f.Add([]byte(c.in), uint64(len(c.in)), uint16(0), uint16(0), false)
			f.Add([]byte("*2\r\n$3\r\nGET\r\n$1\r\na\r\n"+c.in), uint64(len(c.in)), uint16(10), uint16(40), true)
		}
	}
	for _, in := range attacks {
		f.Add([]byte(in), uint64(0), uint16(0), uint16(0), false)
	}
	f.Fuzz(func(t *testing.T, in []byte, seed uint64, stream, limit uint16, unauthenticated bool) {
		streamed := int64(0)
		if stream > 0 {
			streamed = 64 + int64(stream)
		}
		for _, lim := range []request.Limits{
			{Stream: streamed},
			{Stream: streamed, Line: 32 + int(limit), Args: 1 + int(limit), Bulk: 1 + int64(limit), Total: 1 + 2*int64(limit)},
		} {
			want := reference(string(in), full(lim), unauthenticated)
			for i, cut := range []func() int{entire, single, random(rand.New(rand.NewPCG(seed, 0)))} {
				s := request.Scanner{Limits: lim, Unauthenticated: unauthenticated}
				if got := scan(t, &s, in, cut); !got.equal(want) {
					t.Fatalf("%q in cut %d, %+v: %q: want %q", in, i, lim, got, want)
				}
			}
		}
	})
}
