package request_test

import (
	"math"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/seed-2b0d76a6/respool/internal/gateway/request"
)

// stream draws requests of all forms, with an occasional error.
func stream() *rapid.Generator[string] {
	arg := rapid.OneOf(
		rapid.StringOfN(rapid.RuneFrom([]rune("aZ*$\r\n\x00 19")), 0, 30, -1),
		rapid.Custom(func(t *rapid.T) string { return strings.Repeat("x", rapid.IntRange(0, 300).Draw(t, "long")) }),
	)
	array := rapid.Custom(func(t *rapid.T) string { return strict(rapid.SliceOfN(arg, 1, 5).Draw(t, "args")) })
	inline := rapid.Custom(func(t *rapid.T) string {
		const letters = "ab \t\v\\\\\"'x4f\r"
		return rapid.StringOfN(rapid.RuneFrom([]rune(letters)), 0, 12, -1).Draw(t, "inline") + "\n"
	})
	one := rapid.OneOf(array, array, inline, rapid.SampledFrom([]string{
		"*0\r\n", "\r\n", "*-1\r\n", "*1\rx$1\ryzab", "*2\r\n$1\r\na\n\r$1\n\rb\r\n", "PING\r\n", "*1\r\n$4\r\nPOST\r\n",
	}))
	return rapid.Custom(func(t *rapid.T) string {
		in := []byte(strings.Join(rapid.SliceOfN(one, 1, 8).Draw(t, "requests"), ""))
		if rapid.IntRange(0, 3).Draw(t, "faults") == 0 {
			at := rapid.IntRange(0, len(in)-1).Draw(t, "at")
			in[at] = rapid.SampledFrom([]byte("\r\n\x00*$-019a\"")).Draw(t, "fault")
		}
		return string(in)
	})
}

func limits() *rapid.Generator[request.Limits] {
	return rapid.Custom(func(t *rapid.T) request.Limits {
		pick := func(name string, of ...int) int { return rapid.SampledFrom(of).Draw(t, name) }
		return request.Limits{
			Line: pick("line", 32, 64, 0), Args: pick("args", 3, 0, 0), Bulk: int64(pick("bulk", 20, 200, 0)),
			Total: int64(pick("total", 40, 400, 0)), Stream: int64(pick("stream", 0, 64, 100, 400)),
		}
	})
}

func TestSplittingTheInputChangesNothing(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		in := stream().Draw(rt, "in")
		s := request.Scanner{Limits: limits().Draw(rt, "limits"), Unauthenticated: rapid.Bool().Draw(rt, "unauthenticated")}
		want := reference(in, full(s.Limits), s.Unauthenticated)
		seed := rapid.Uint64().Draw(rt, "seed")
		for i, cut := range []func() int{entire, single, random(rand.New(rand.NewPCG(seed, 0)))} {
			fresh := s
			if got := scan(rt, &fresh, []byte(in), cut); !got.equal(want) {
				rt.Fatalf("cut %d: %q: want %q", i, got, want)
			}
		}
	})
}

// allocated returns the bytes that f allocates: the minimum of several runs, because the goroutines of the runtime
// allocate too.
func allocated(f func()) uint64 {
	least := uint64(math.MaxUint64)
	for range 5 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		f()
		runtime.ReadMemStats(&after)
		least = min(least, after.TotalAlloc-before.TotalAlloc)
	}
	return least
}

func TestMemoryGrowsWithBytesReceived(t *testing.T) {
	for _, in := range []string{
		"*1048576\r\n$536870912\r\na",
		"*2\r\n$4\r\nECHO\r\n$536870912\r\na",
		"*1048576\r\n$1\r\na\r\n$1\r\na\r\n",
	} {
		for _, cut := range cuts() {
			if spent := allocated(func() {
				var s request.Scanner
				for rest := []byte(in); len(rest) > 0; {
					chunk := rest[:min(len(rest), max(1, cut()))]
					if req, n, err := s.Next(chunk); req.Raw != nil || n != len(chunk) || err != nil {
						t.Errorf("%q: request %q, %d of %d bytes, error %v", in, req.Raw, n, len(chunk), err)
					}
					rest = rest[len(chunk):]
				}
			}); spent > 4<<10 {
				t.Errorf("%q: %d bytes allocated", in, spent)
			}
		}
	}
}

func TestMemoryIsFreed(t *testing.T) {
	large := []byte(strict([]string{"SET", "k", strings.Repeat("x", 1<<20)}))
	many := []byte(strict(make([]string, 10_000)))
	for _, in := range [][]byte{large, many} {
		var s request.Scanner
		next := func(b []byte) request.Request {
			t.Helper()
			req, n, err := s.Next(b)
			if n != len(b) || err != nil {
				t.Fatalf("%d of %d bytes, error %v", n, len(b), err)
			}
			return req
		}
		next(in[:len(in)-1])
		if req := next(in[len(in)-1:]); len(req.Raw) != len(in) || s.Held() > 6*len(in) {
			t.Errorf("a request of %d bytes: %d bytes, %d held", len(in), len(req.Raw), s.Held())
		}
		// The next request does not inherit a large buffer.
		next([]byte("*1\r\n"))
		if s.Held() > 4<<10 {
			t.Errorf("%d bytes held in a small request", s.Held())
		}
		next([]byte("$4\r\nPING\r\n"))
		next(nil)
		if s.Held() > 32*24 {
			t.Errorf("%d bytes held between requests", s.Held())
		}
	}
}

func TestLargeRequestsNeedBoundedMemory(t *testing.T) {
	const stream, chunk = 4 << 10, 16 << 10
	args := []string{"MSET", "k", strings.Repeat("x", 1<<20)}
	for range 20_000 {
		args = append(args, "k", "v")
	}
	in := []byte(strict(args))
	s := request.Scanner{Limits: request.Limits{Stream: stream}}
	var parts reassembly
	most, requests := 0, 0
	for len(in) > 0 {
		rest := in[:min(len(in), chunk)]
		in = in[len(rest):]
		for {
			req, n, err := s.Next(rest)
			if err != nil {
				t.Fatal(err)
			}
			most = max(most, s.Held())
			if rest = rest[n:]; req.Raw == nil {
				break
			}
			if req.Part == request.First && (len(req.Args) != 2 || req.Count != len(args)) {
				t.Errorf("the first part has %q of %d: want MSET and its key of %d", req.Args, req.Count, len(args))
			}
			if parts.add(t, &s, req) != "" {
				requests++
			}
		}
	}
	if requests != 1 || most > 2*stream {
		t.Errorf("%d requests, up to %d bytes held", requests, most)
	}
}

func TestCompleteRequestsDoNotAllocate(t *testing.T) {
	in := []byte(strings.Repeat(strict([]string{"SET", "key", strings.Repeat("x", 100), "EX", "60"}), 16))
	var s request.Scanner
	if n := testing.AllocsPerRun(100, func() { drain(t, &s, in) }); n != 0 {
		t.Errorf("%v allocations for 16 requests", n)
	}
	if req, _, _ := s.Next(in); &req.Raw[0] != &in[0] {
		t.Error("a whole request was copied")
	}
}

// drain reads all of in and returns the number of requests.
func drain(t testing.TB, s *request.Scanner, in []byte) (requests int) {
	for {
		req, n, err := s.Next(in)
		if err != nil {
			t.Fatal(err)
		}
		if req.Raw == nil {
			return requests
		}
		if s.Idle() {
			requests++
		}
		in = in[n:]
	}
}
