package gateway_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/gateway"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
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

// Large requests of many clients share the lanes with small ones. Memory is reused, so bytes of one request could reach
// another one.
func TestLargeRequestsOfManyClients(t *testing.T) {
	const clients, rounds = 8, 12
	onEach(t, gateway.Config{}, func(t *testing.T, _ *testGateway, dial func() *peer) {
		var wg sync.WaitGroup
		for n := range clients {
			p := dial()
			wg.Go(func() {
				key := fmt.Sprint("key", n)
				for round := range rounds {
					size := 60<<10 + (n*rounds+round)*7919%(1<<20)
					value := strings.Repeat(string(rune('a'+(n+round)%26)), size)
					out := string(setOf(key, value)) + "*2\r\n$6\r\nSTRLEN\r\n" + crlf(bulk(key)) + string(setOf(key+"small", value[:9]))
					if _, err := io.WriteString(p, out); err != nil {
						t.Error(err)
						return
					}
					p.exactly(fmt.Sprintf("+OK\r\n:%d\r\n+OK\r\n", size))
					if _, err := io.WriteString(p, "*2\r\n$3\r\nGET\r\n"+crlf(bulk(key))); err != nil {
						t.Error(err)
						return
					}
					p.exactly(fmt.Sprintf("$%d\r\n%s\r\n", size, value))
				}
			})
		}
		wg.Wait()
	})
}

func crlf(lines string) string { return strings.ReplaceAll(lines, "|", "\r\n") }

// A connection that breaks within a large request harms neither the requests behind it nor their memory.
func TestABreakWithinALargeRequest(t *testing.T) {
	h, relay := behindRelay(t, 1)
	const size = 8 << 20 // more than sockets buffer
	for round := range 5 {
		p, q := h.dial(), h.dial()
		p.ask("GET small")
		relay.Stall()
		before := h.Stats().Commands
		value := strings.Repeat(string(rune('a'+round)), size)
		if _, err := p.Write(setOf("cut", value)); err != nil {
			t.Fatal(err)
		}
		testkit.Eventually(t, "the gateway has read the request", func() bool { return h.Stats().Commands > before })
		q.ask("PING") // the gateway has written the request as far as the socket accepts it
		relay.CutAll()
		relay.Resume()
		if line, err := p.in.ReadString('\n'); err != nil || line[0] != '-' {
			t.Fatalf("got %.60q, %v: want an error", line, err)
		}
		q.sendMany(setOf("whole", value), 3)
		if _, err := io.WriteString(q, "*2\r\n$3\r\nGET\r\n$5\r\nwhole\r\n"); err != nil {
			t.Fatal(err)
		}
		q.exactly(fmt.Sprintf("$%d\r\n%s\r\n", size, value))
	}
}
