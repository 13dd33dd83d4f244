package gateway_test

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/seed-2b0d76a6/respool/internal/gateway"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// A Sentinel service fails over twice under load. Readers see no error, a writer sees an error only for a command that
// may have run, and no client is closed.
func TestAFailoverOnlyDelaysCommands(t *testing.T) {
	set := redistest.StartSentinels(t, redistest.SentinelConfig{Replicas: 1})
	h := open(t, set.URL("max_connections=4", "timeout=60", "socket_timeout=60"), gateway.Config{})
	const clients = 40
	var stop atomic.Bool
	var answered, unknown atomic.Int64
	var wg sync.WaitGroup
	for i := range clients {
		p := h.dial()
		wg.Go(func() {
			last := 0
			for !stop.Load() && !t.Failed() {
				p.send(fmt.Sprintf("GET n%d", i), fmt.Sprintf("INCR n%d", i))
				if got := p.frame(); strings.HasPrefix(got, "-") {
					t.Errorf("a reader saw %s", got)
				}
				got := strings.TrimSpace(p.frame())
				value, err := strconv.Atoi(strings.TrimPrefix(got, ":"))
				switch {
				case err != nil && strings.Contains(got, "respool: ") && strings.Contains(got, "was sent"):
					unknown.Add(1)
				case err != nil:
					t.Errorf("a writer saw %s", got)
				default:
					answered.Add(1)
					last = max(last, value)
				}
			}
		})
	}
	blocked := h.dial()
	blocked.send("BLPOP list 0")
	subscriber := h.dial()
	subscriber.send("SUBSCRIBE news")
	subscriber.want("*3|$9|subscribe|$4|news|:1|")
	for range 2 {
		before := answered.Load()
		testkit.Await(t, "there is load", answered.Load, testkit.AtLeast(before+1001))
		set.Failover()
		set.WaitHealthy(t, patience)
	}
	before := answered.Load()
	testkit.Await(t, "there is load again", answered.Load, testkit.AtLeast(before+1001))
	stop.Store(true)
	wg.Wait()
	p := h.dial()
	if got := p.ask("RPUSH list a"); got != ":1|" {
		t.Error(got)
	}
	got, err := blocked.tryFrame()
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
		// the old primary delayed it beyond the time in which replies are accepted, so its outcome is unknown
		blocked = h.dial()
		blocked.send("BLPOP list 0")
		got, err = blocked.tryFrame()
	}
	if got = strings.ReplaceAll(got, "\r\n", "|"); got != "*2|$4|list|$1|a|" || err != nil {
		t.Errorf("a blocked client saw %s", got)
	}
	testkit.Await(t, "the subscription is active again", func() string { return p.ask("PUBLISH news x") }, testkit.Is(":1|"))
	subscriber.want("*3|$7|message|$4|news|$1|x|")
	t.Logf("%d answered, %d sent with no answer", answered.Load(), unknown.Load())
}
