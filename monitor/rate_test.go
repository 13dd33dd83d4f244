package monitor_test

import (
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/testkit/fakeserver"
	"github.com/seed-2b0d76a6/respool/monitor"
)

// A sampler looks every 10 ms. A server that lets it in nowhere is dialed twice a second at most, once that is known.
func TestASamplerDialsAServerThatRefusesItSeldom(t *testing.T) {
	for name, cfg := range map[string]fakeserver.Config{
		"refuses the password": {Password: "theirs"},
		"is full": {Accept: func(c *fakeserver.Conn) {
			c.Send("-ERR max number of clients reached\r\n")
			c.Close()
		}},
		"closes every connection": {Accept: func(c *fakeserver.Conn) { c.Close() }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := fakeserver.Start(t, cfg)
			sampler := startSampler(t, "redis://:ours@"+s.Addr(), func(c *monitor.SamplerConfig) { c.Every = 10 * time.Millisecond })
			began := time.Now()
			looks := 0
			sampler.until(t, "had looked for two seconds", func(st *monitor.State) bool {
				looks++
				return time.Since(began) > 2*time.Second
			})
			sampler.stop()
			// At first the pauses double from 5 ms to half a second; a second connection may look for older servers.
			most := 12 + int(time.Since(began)/(500*time.Millisecond))
			if n := s.Accepted(); n < 2 || n > most {
				t.Errorf("%d dials in %v, and %d looks: want 2 to %d dials", n, time.Since(began), looks, most)
			}
		})
	}
}
