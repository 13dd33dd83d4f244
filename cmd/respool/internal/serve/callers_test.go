package serve

import (
	"fmt"
	"regexp"
	"testing"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/tooltest"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
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
	metrics := r.page(t, "/metrics", 200)
	for _, name := range []string{"respool_pool_waits_total", "respool_pool_waits_in_vain_total", "db_client_connection_pending_requests"} {
		if values := regexp.MustCompile(`(?m)^`+name+`{.*} (\S+)$`).FindAllStringSubmatch(metrics, -1); len(values) != 1 || values[0][1] != "0" {
			t.Errorf("%s: %q: want 0", name, values)
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
