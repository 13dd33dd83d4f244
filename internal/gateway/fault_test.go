package gateway_test

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/seed-2b0d76a6/respool/internal/gateway"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// Each client gets its own replies, and no command runs twice, while the server is killed and restarted.
func TestAKilledServer(t *testing.T) {
	s := redistest.Start(t, redistest.Config{AppendOnly: true})
	h := open(t, s.URL()+"?max_connections=4&protocol=2&timeout=20&socket_timeout=20", gateway.Config{})
	const clients = 50
	var wg sync.WaitGroup
	var stop atomic.Bool
	var answered, failed atomic.Int64
	for i := range clients {
		p := h.dial()
		wg.Go(func() {
			last := 0
			for n := 0; !stop.Load(); n++ {
				p.send(fmt.Sprintf("INCR c%d", i), fmt.Sprintf("ECHO %d.%d", i, n), fmt.Sprintf("GET c%d", i))
				incr := strings.TrimSpace(p.frame())
				p.want(bulk(fmt.Sprintf("%d.%d", i, n)))
				get := strings.ReplaceAll(p.frame(), "\r\n", "|")
				if strings.HasPrefix(incr, "-") {
					failed.Add(1)
					if !strings.Contains(incr, "respool: ") && !strings.HasPrefix(incr, "-LOADING") {
						t.Errorf("%s", incr)
					}
					last++ // it may have run once
				} else {
					answered.Add(1)
					value, err := strconv.Atoi(incr[1:])
					if err != nil || value > last+1 || value < 1 {
						t.Errorf("client %d: %q after %d", i, incr, last)
					}
					last = value
				}
				if !strings.HasPrefix(get, "$") && !strings.HasPrefix(get, "-") {
					t.Errorf("GET gave %q", get)
				}
			}
		})
	}
	for range 3 {
		before := answered.Load()
		testkit.Await(t, "there is load", answered.Load, testkit.AtLeast(before+1001))
		s.Kill()
		s.Restart()
	}
	before := answered.Load()
	testkit.Await(t, "there is load again", answered.Load, testkit.AtLeast(before+1001))
	stop.Store(true)
	wg.Wait()
	t.Logf("%d answered, %d failed", answered.Load(), failed.Load())
}
