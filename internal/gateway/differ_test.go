package gateway_test

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/gateway"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
	"github.com/seed-2b0d76a6/respool/resp"
)

var (
	differCommands = flag.Int("differ", 40_000, "commands of the differential test")
	differSeed     = flag.Uint64("seed", 0, "its seed; 0: another one each time")
)

// play sends a session in pieces of any size and returns its replies up to the mark at its end.
func play(addr string, commands [][]string, cuts *rand.Rand) ([]string, error) {
	conn, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	var raw []byte
	for _, words := range slices.Concat(commands, [][]string{{"RESET"}, {"ECHO", endMark}}) {
		raw = resp.AppendArrayHeader(raw, len(words))
		for _, w := range words {
			raw = resp.AppendBulkString(raw, w)
		}
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		for len(raw) > 0 {
			n := 1 + cuts.IntN(min(len(raw), 1+cuts.IntN(4096)))
			if _, err := conn.Write(raw[:n]); err != nil {
				return
			}
			raw = raw[n:]
		}
	})
	return readFrames(bufio.NewReaderSize(conn, 64<<10))
}

const endMark = "the-end-of-the-session"

func readFrames(in *bufio.Reader) ([]string, error) {
	var frames []string
	var s resp.Scanner
	var held []byte
	for {
		if _, err := in.Peek(1); err != nil {
			return frames, err
		}
		b, _ := in.Peek(in.Buffered())
		n, done, err := s.Scan(b)
		if err != nil {
			return frames, fmt.Errorf("%w in %q", err, b)
		}
		held = append(held, b[:n]...)
		_, _ = in.Discard(n)
		if !done {
			continue
		}
		frame := string(held)
		held = held[:0]
		if strings.Contains(frame, endMark) {
			return frames, nil
		}
		frames = append(frames, frame)
	}
}

// known reports whether a difference is documented.
func known(straight, through string) bool {
	switch {
	case strings.Contains(straight, "\r\nproto\r\n"):
		return anonymous(straight) == anonymous(through)
	case strings.HasPrefix(through, "-ERR respool: "):
		return true // the gateway refuses it with its own text
	case strings.Replace(through, ", with args beginning with: \r\n", "\r\n", 1) == straight:
		return true // Redis 8 omits the empty list
	case strings.Contains(straight, "unknown command `") && strings.Contains(through, "unknown command '"),
		strings.Contains(straight, "only (P)SUBSCRIBE") && strings.Contains(through, "only (P|S)SUBSCRIBE"):
		return true // the text of 6.2
	case strings.HasPrefix(straight, "-NOSUB "):
		return true // Valkey 8.0.0 and 8.0.1 refuse UNSUBSCRIBE without subscriptions
	case strings.Contains(straight, "unsubscribe\r\n") && strings.Contains(through, "unsubscribe\r\n"):
		return len(straight) == len(through) // an UNSUBSCRIBE from all topics has the order of the server's hash table
	}
	return false
}

// apart reports whether a session contains a command that only the gateway refuses inside MULTI. The sessions differ
// after it.
func apart(through []string) bool {
	return slices.ContainsFunc(through, func(f string) bool { return strings.Contains(f, "respool: ") })
}

// answered removes the replies that servers since 7.2 sometimes omit.
func answered(v redistest.Version, frames []string) []string {
	if !v.DropsRefusedAuth() {
		return frames
	}
	return slices.DeleteFunc(frames, func(f string) bool { return strings.HasPrefix(f, "-WRONGPASS ") })
}

// The test sends random sessions to a server directly and through the gateway, and compares every byte.
func TestTheGatewayRepliesLikeTheServer(t *testing.T) {
	quick := redistest.Config{Args: []string{"--hz", "500"}} // check for blocked clients this often
	compareSessions(t, 4, *differCommands, func(int) *comparison {
		straight, behind := redistest.Start(t, quick), redistest.Start(t, quick)
		h := open(t, behind.URL()+"?max_connections=4", gateway.Config{Admin: true})
		return &comparison{
			straight: straight, flushed: []*redistest.Server{straight, behind}, through: h.addr, known: known,
			draw: func(r *rand.Rand) [][]string {
				return (&drawer{Rand: r, templates: templates, version: straight.Version()}).session()
			},
		}
	})
}

// comparison sends sessions to a server and through a gateway.
type comparison struct {
	straight *redistest.Server
	flushed  []*redistest.Server // before each session
	through  string              // address of the gateway
	draw     func(*rand.Rand) [][]string
	known    func(straight, through string) bool // reports whether a difference is documented
	compared int64                               // replies
}

// compareSessions has workers draw and compare sessions until they have sent a number of commands.
func compareSessions(t *testing.T, workers, commands int, begin func(worker int) *comparison) {
	seed := *differSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-seed %d", seed)
	var sent, compared atomic.Int64
	var wg sync.WaitGroup
	for w := range workers {
		c := begin(w)
		wg.Go(func() {
			for n := uint64(0); int(sent.Load()) < commands && !t.Failed(); n++ {
				session := seed + uint64(w)<<48 + n
				drawn := c.draw(rand.New(rand.NewPCG(session, 1)))
				sent.Add(int64(len(drawn)))
				c.compare(t, session, drawn)
			}
			compared.Add(c.compared)
		})
	}
	wg.Wait()
	t.Logf("%d commands, %d replies compared", sent.Load(), compared.Load())
}

func (c *comparison) compare(t *testing.T, session uint64, commands [][]string) {
	for _, s := range c.flushed {
		if _, err := s.TryDo("FLUSHALL"); err != nil {
			t.Error(err)
			return
		}
	}
	a, aerr := play(c.straight.Addr(), commands, rand.New(rand.NewPCG(session, 2)))
	b, berr := play(c.through, commands, rand.New(rand.NewPCG(session, 3)))
	if apart(b) {
		return
	}
	version := c.straight.Version()
	a, b = answered(version, a), answered(version, b)
	for i := range max(len(a), len(b)) {
		switch {
		case i >= len(a) || i >= len(b):
			t.Errorf("session %d: %d frames straight (%v), %d through (%v)\n%s", session, len(a), aerr, len(b), berr, listing(commands))
			return
		case a[i] != b[i] && !c.known(a[i], b[i]):
			t.Errorf("session %d, frame %d:\nstraight %.300q\nthrough  %.300q\n%s", session, i, a[i], b[i], listing(commands))
			return
		}
	}
	c.compared += int64(len(a))
	if !errors.Is(aerr, berr) && (aerr == nil) != (berr == nil) {
		t.Errorf("session %d: straight ended with %v, through with %v\n%s", session, aerr, berr, listing(commands))
	}
}

func listing(commands [][]string) string {
	var b strings.Builder
	for _, words := range commands {
		fmt.Fprintf(&b, "    %.100q\n", words)
	}
	return b.String()
}
