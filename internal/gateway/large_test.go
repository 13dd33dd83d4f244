package gateway_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/gateway"
	"github.com/seed-2b0d76a6/respool/resp"
)

// setOf returns a SET.
func setOf(key, value string) []byte {
	raw, err := resp.AppendCommand(nil, []any{"SET", key, value})
	if err != nil {
		panic(err)
	}
	return raw
}

// setLarge returns a SET with a value of this size.
func setLarge(size int) []byte { return setOf("large", strings.Repeat("x", size)) }

// sendMany writes a request n times, while it reads n replies +OK.
func (p *peer) sendMany(raw []byte, n int) {
	p.t.Helper()
	sent := make(chan error, 1)
	go func() {
		var err error
		for i := 0; i < n && err == nil; i++ {
			_, err = p.Write(raw)
		}
		sent <- err
	}()
	p.want(slices.Repeat([]string{"+OK|"}, n)...)
	if err := <-sent; err != nil {
		p.t.Fatal(err)
	}
}

// The gateway copies large requests into reused memory. Otherwise each request of a long pipeline would cost more than
// one of a short pipeline.
func TestTheMemoryOfLargeRequestsIsReused(t *testing.T) {
	const size = 512 << 10
	raw := setLarge(size)
	onEach(t, gateway.Config{}, func(t *testing.T, _ *testGateway, dial func() *peer) {
		p := dial()
		p.sendMany(raw, 10)
		for _, n := range []int{25, 100} {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			p.sendMany(raw, n)
			runtime.ReadMemStats(&after)
			each := float64(after.TotalAlloc-before.TotalAlloc) / float64(n*size)
			t.Logf("%d requests: %.2f bytes of new memory for each byte", n, each)
			if each > 1.5 {
				t.Errorf("%d requests took %.1f times their size of new memory: want 1.5 at most", n, each)
			}
		}
	})
}

// Input that the server does not accept stays with the client, as without a gateway.
func TestTheGatewayDoesNotReadFarAheadOfTheServer(t *testing.T) {
	h, relay := behindRelay(t, 2)
	p := h.dial()
	p.sendMany(setOf("small", "x"), 200) // small replies allow many pending commands
	relay.Stall()
	raw := setLarge(1 << 20)
	const most = 24 // MiB, including the buffers of all sockets
	_ = p.SetWriteDeadline(time.Now().Add(2 * time.Second))
	whole, part, err := 0, 0, error(nil)
	for whole < most && err == nil {
		if part, err = p.Write(raw); err == nil {
			whole++
		}
	}
	if whole == most {
		t.Fatalf("the gateway read %d MiB while the server reads nothing", whole)
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	relay.Resume()
	_ = p.SetWriteDeadline(time.Now().Add(patience))
	if _, err := p.Write(raw[part:]); err != nil {
		t.Fatal(err)
	}
	p.want(slices.Repeat([]string{"+OK|"}, whole+1)...)
}

// Small and large requests and replies in one pipeline keep their order and their bytes.
func TestRequestsOfAllSizesInOnePipeline(t *testing.T) {
	sizes := []int{1, 100, 5 << 10, 20 << 10, 70 << 10, 300 << 10, 5 << 20, 40 << 10, 10}
	onEach(t, gateway.Config{}, func(t *testing.T, _ *testGateway, dial func() *peer) {
		p := dial()
		var out, want strings.Builder
		for i := range len(sizes) {
			size := sizes[i*7%len(sizes)]
			value := strings.Repeat(string(rune('a'+i%26)), size)
			out.Write(setOf("k", value))
			out.WriteString("*2\r\n$3\r\nGET\r\n$1\r\nk\r\n")
			fmt.Fprintf(&want, "+OK\r\n$%d\r\n%s\r\n", size, value)
		}
		sent := make(chan error, 1)
		go func() {
			_, err := io.WriteString(p, out.String())
			sent <- err
		}()
		p.exactly(want.String())
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
	})
}
