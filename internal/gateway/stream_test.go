package gateway_test

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/seed-2b0d76a6/respool/internal/gateway"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/faultnet"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// large is a value whose reply comes in many parts.
var large = strings.Repeat("0123456789abcdef", 1<<18) // 4 MiB

// behindRelay opens a gateway whose server connections can be cut and stalled, with extra keys of the URL. The server
// has large in the key "large".
func behindRelay(t *testing.T, bound int, keys ...string) (*testGateway, *faultnet.Relay) {
	s := redistest.Start(t, redistest.Config{})
	s.Do("SET", "large", large)
	relay := faultnet.Start(t, s.PlainAddr())
	url := fmt.Sprintf("redis://%s?max_connections=%d&protocol=2", relay.Addr(), bound)
	return open(t, strings.Join(append([]string{url}, keys...), "&"), gateway.Config{}), relay
}

// largeReply is the reply to GET large.
var largeReply = fmt.Sprintf("$%d\r\n%s\r\n", len(large), large)

// exactly reads bytes and compares them.
func (p *peer) exactly(want string) {
	p.t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(p.in, got); err != nil {
		p.t.Fatalf("after %d of %d bytes, %.200q: %v", n, len(want), got[:n], err)
	}
	if string(got) != want {
		p.t.Fatalf("%.60q came: want %.60q", got, want)
	}
}

// somePart is a length that is enough to show that a reply has begun.
const somePart = 256 << 10

func TestAnIncompleteLargeReplyEndsTheConnection(t *testing.T) {
	h, relay := behindRelay(t, 1)
	p, q := h.dial(), h.dial()
	if got := q.ask("GET small"); got != "$-1|" { // opens the connection
		t.Fatal(got)
	}
	relay.StallAfter(1 << 20)
	p.send("GET large", "PING")
	p.exactly(largeReply[:somePart])
	relay.CutAll()
	relay.Resume()
	rest, err := io.ReadAll(p.in)
	if len(rest) > 1<<20 || !strings.HasPrefix(largeReply[somePart:], string(rest)) {
		t.Errorf("%d bytes more came, and %v: want the rest of the part alone", len(rest), err)
	}
	// The client behind it on the same connection gets an error or another attempt.
	q.send("GET large")
	q.exactly(largeReply)
}

func TestMessagesFollowAnEarlierLargeReply(t *testing.T) {
	h, relay := behindRelay(t, 4)
	const subscribed, message = ">3|$9|subscribe|$4|news|:1|", ">3|$7|message|$4|news|$3|%s|"
	p, q, other := h.dial(), h.dial(), h.dial()
	for _, c := range []*peer{p, other} {
		if got := c.ask("HELLO 3"); got[0] != '%' {
			t.Fatal(got)
		}
		c.send("SUBSCRIBE news", "GET none")
		c.want(subscribed, "_|")
	}
	relay.StallAfter(1 << 20)
	p.send("GET large", "ECHO after")
	p.exactly(largeReply[:somePart])
	q.send("PUBLISH news one", "PUBLISH news two")
	q.want(":1|", ":1|")                                                 // both get it through one subscription
	other.want(fmt.Sprintf(message, "one"), fmt.Sprintf(message, "two")) // so p has the first message too
	relay.Resume()
	p.exactly(largeReply[somePart:])
	got := []string{p.frame(), p.frame(), p.frame()}
	slices.Sort(got)
	if want := []string{"$5|after|", fmt.Sprintf(message, "one"), fmt.Sprintf(message, "two")}; strings.ReplaceAll(strings.Join(got, ""), "\r\n", "|") != strings.Join(want, "") {
		t.Errorf("after the reply came %q: want %q in any order", got, want)
	}
}

func TestAClientThatLeavesDuringALargeReply(t *testing.T) {
	h, relay := behindRelay(t, 4)
	for range 5 {
		p, q := h.dial(), h.dial()
		p.send("GET large", "GET large")
		q.send("ECHO one", "GET large", "ECHO two")
		p.exactly(largeReply[:somePart])
		p.Close()
		q.want(bulk("one"))
		q.exactly(largeReply)
		q.want(bulk("two"))
	}
	if n := relay.Conns(); n > 4 {
		t.Errorf("%d connections: want 4 at most", n)
	}
}

func TestALargeReplyThatTheClientDoesNotWant(t *testing.T) {
	h, _ := behindRelay(t, 4)
	p := h.dial()
	p.send("CLIENT REPLY SKIP", "GET large", "ECHO one", "GET large", "CLIENT REPLY OFF", "GET large", "CLIENT REPLY ON", "ECHO two")
	p.want(bulk("one"))
	p.exactly(largeReply)
	p.want("+OK|", bulk("two"))
}

func TestLargeRepliesInTransactionsAndToManyClients(t *testing.T) {
	h, _ := behindRelay(t, 4)
	done := make(chan struct{})
	const clients = 8
	for range clients {
		p := h.dial()
		go func() {
			defer func() { done <- struct{}{} }()
			for range 3 {
				p.send("MULTI", "GET large", "ECHO in", "EXEC", "GET large", "MGET large none", "ECHO out")
				p.want("+OK|", "+QUEUED|", "+QUEUED|")
				p.exactly("*2\r\n" + largeReply + "$2\r\nin\r\n" + largeReply + "*2\r\n" + largeReply + "$-1\r\n")
				p.want(bulk("out"))
			}
		}()
	}
	for range clients {
		<-done
	}
}

func TestAMessageBehindALargeReplyClosesNoClient(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	h := open(t, s.URL()+"?max_connections=4", gateway.Config{OutputBuffer: 1 << 20})
	const size = 16 << 20
	s.Do("SET", "big", strings.Repeat("x", size))
	p := h.dial()
	if got := p.ask("HELLO 3"); got[0] != '%' {
		t.Fatal(got)
	}
	p.send("SUBSCRIBE news", "GET big")
	p.want(">3|$9|subscribe|$4|news|:1|")
	testkit.Eventually(t, "more waits than the output buffer", func() bool { return h.Stats().Buffered > 2<<20 && h.client.Stats().RepliesDue == 0 })
	if got := s.Do("PUBLISH", "news", "one"); got != "1" {
		t.Fatal(got)
	}
	if n, err := io.CopyN(io.Discard, p.in, int64(len("$16777216|")+1+size+2)); err != nil {
		t.Fatalf("after %d bytes of the reply: %v", n, err)
	}
	p.want(">3|$7|message|$4|news|$3|one|")
}
