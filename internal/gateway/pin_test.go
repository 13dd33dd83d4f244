package gateway_test

import (
	"runtime"
	"strings"
	"testing"

	"github.com/seed-2b0d76a6/respool/internal/gateway"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

func TestATrackingClientThatSwitchesToRESP3GetsInvalidations(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	h := open(t, s.URL()+"?max_connections=2", gateway.Config{})
	before := h.dial() // it has used the dedicated connection before
	before.send("HELLO 3", "WATCH a", "UNWATCH")
	before.frame()
	before.want("+OK|", "+OK|")
	for _, lines := range [][]string{{"CLIENT TRACKING ON", "HELLO 3"}, {"WATCH a", "HELLO 3", "CLIENT TRACKING ON"}} {
		p := h.dial()
		for _, line := range lines {
			if got := p.ask(line); got[0] == '-' {
				t.Fatal(got)
			}
		}
		p.send("GET a", "SET a 1", "PING")
		got := p.frame() + p.frame() + p.frame() + p.frame()
		if got = strings.ReplaceAll(got, "\r\n", "|"); !strings.HasSuffix(got, "+OK|>2|$10|invalidate|*1|$1|a|+PONG|") {
			t.Errorf("%q: %s", lines, got)
		}
		s.Do("DEL", "a")
		p.Close()
	}
	if got := before.ask("PING"); got != "+PONG|" {
		t.Errorf("another client got %s", got)
	}
}

func TestReleasedConnectionsAreNotWatched(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	h := open(t, s.URL()+"?max_connections=2", gateway.Config{})
	p := h.dial()
	p.ask("HELLO 3")
	p.send("WATCH a", "UNWATCH")
	p.want("+OK|", "+OK|")
	before := runtime.NumGoroutine()
	for range 200 {
		p.send("WATCH a", "UNWATCH")
		p.want("+OK|", "+OK|")
	}
	testkit.Eventually(t, "the watching goroutines have ended", func() bool { return runtime.NumGoroutine() < before+20 })
}
