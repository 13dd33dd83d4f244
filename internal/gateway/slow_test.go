package gateway_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/gateway"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// longer than the default reply timeout of a respool.Client
const longer = 8 * time.Second

// A server may take any time: the client decides how long it waits. This applies to shared and to dedicated
// connections.
func TestTheGatewayHasNoDefaultReplyTimeout(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	h := open(t, s.URL()+"?max_connections=8", gateway.Config{})
	script := "EVAL return(redis.call('INCR','n')) 0"
	watcher, lane, multi := h.dial(), h.dial(), h.dial()
	watcher.send("WATCH w")
	watcher.want("+OK|")
	lane.send("GET a")
	lane.want("$-1|")
	s.Pause()
	pause := time.AfterFunc(longer, s.Resume)
	defer pause.Stop()
	var wg sync.WaitGroup
	for _, c := range []struct {
		p     *peer
		lines []string
		want  []string
	}{
		{watcher, []string{"GET w", "MULTI", "SET w 1", "EXEC"}, []string{"$-1|", "+OK|", "+QUEUED|", "*1|+OK|"}},
		{lane, []string{script, "GET b"}, []string{":1|", "$-1|"}},
		{multi, []string{"MULTI", "INCR m", "EXEC"}, []string{"+OK|", "+QUEUED|", "*1|:1|"}},
	} {
		wg.Go(func() {
			c.p.send(c.lines...)
			for _, want := range c.want {
				got, err := c.p.tryFrame()
				if got = strings.ReplaceAll(got, "\r\n", "|"); err != nil || got != want {
					t.Errorf("%q gave %q and %v: want %q", c.lines, got, err, want)
					return
				}
			}
		})
	}
	wg.Wait()
}

// A timeout in the URL applies to the gateway.
func TestTheReplyTimeoutOfTheURLApplies(t *testing.T) {
	h, relay := behindRelay(t, 2, "socket_timeout=0.2")
	p := h.dial()
	p.send("GET small")
	p.want("$-1|")
	relay.StallReplies()
	defer relay.Resume()
	if got := p.ask("INCR n"); !strings.Contains(got, "no reply within the socket timeout of 200ms") {
		t.Errorf("got %q", got)
	}
}
