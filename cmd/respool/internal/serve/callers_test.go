package serve

import (
	"fmt"
	"testing"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/tooltest"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
	"github.com/seed-2b0d76a6/respool/monitor"
)

// The pings and the readings of a gateway whose server is down are not callers; its clients are.
func TestAGatewayIsNotItsOwnCaller(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	s.Kill()
	hook := tooltest.NewReceiver(t)
	r := served(t, &Flags{Listen: []string{"127.0.0.1:0"}, Config: tooltest.File(t, "respool.yaml",
		fmt.Sprintf("url: %s\nevery: 500ms\nlist_every: 500ms\ngrace: 0\nrules: {down: {for: 10ms}}\ntell: [{webhook: {url: %q}}]\nlisten: 127.0.0.1:0\n", s.URL(), hook.URL))})
	hook.Until(t, "firing down")
	c := tooltest.Dial(t, "tcp", r.at(t, 1))
	for range 3 {
		c.Do("+PONG", "PING") // the gateway replies itself
	}
	for _, told := range hook.Told() {
		if told != "firing down" {
			t.Errorf("%s: want no alert about callers", told)
		}
	}
	for range 30 {
		caller := tooltest.Dial(t, "tcp", r.at(t, 1))
		for range 50 {
			caller.Send("GET", "k")
		}
	}
	hook.Until(t, "firing pool-timeouts gateway")
}

func TestOwnQueriesAreNotCallers(t *testing.T) {
	for _, c := range []struct {
		failed, own, want uint64
		clients, waiting  int
	}{
		{3, 2, 0, 0, 0}, {3, 3, 0, 1, 1}, {7, 3, 4, 5, 2}, {1, 3, 0, 1, 1},
	} {
		v := monitor.PoolView{Before: respool.Stats{}, Now: respool.Stats{}}
		v.Before.FailedWaits, v.Now.FailedWaits, v.Now.Waiting = 5, 5+c.failed, 2
		callersOnly(&v, c.clients, c.own)
		if got := v.Now.FailedWaits - 5; got != c.want || v.Now.Waiting != c.waiting {
			t.Errorf("%+v: %d failed waits, %d waiting", c, got, v.Now.Waiting)
		}
	}
}
