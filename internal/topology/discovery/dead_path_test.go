package discovery

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// By the fake clock, all connections to all sentinels go dead and new ones work. Little more than a query timeout after
// the first query that is lost, everything is subscribed again, so that a failover shows at once.
func TestDeadPathsToAllSentinelsAreLeftAQueryTimeoutAfterTheFirstLostQuery(t *testing.T) {
	const queryTimeout = time.Second
	for wait := range 12 {
		t.Run(fmt.Sprintf("after %d s", 60+wait), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, addrs...)
				s := w.set()
				defer closeAll(t, s, w)
				service, n := w.watch(s)
				defer n.stop(service)
				time.Sleep(time.Minute + time.Duration(wait)*time.Second)
				w.swallow()
				lost := time.Time{}
				for lost.IsZero() {
					time.Sleep(time.Millisecond)
					w.change(func() {
						for _, f := range w.sentinels {
							if !f.lostAt.IsZero() {
								lost = f.lostAt
							}
						}
					})
				}
				time.Sleep(time.Until(lost.Add(queryTimeout * 3 / 2)))
				w.change(func() {
					for addr, f := range w.sentinels {
						if len(f.subscribers) != 1 {
							t.Errorf("%d subscribers at %s: want 1", len(f.subscribers), addr)
						}
					}
				})
				w.failOver("B:6379", addrs[1])
				time.Sleep(100 * time.Millisecond)
				if primary, _ := n.now(); primary != "B:6379" {
					t.Errorf("the primary is %q", primary)
				}
				w.checkPeaks(t)
			})
		})
	}
}

// While all is well a subscription carries the pings of its own period alone.
func TestHealthySubscriptionsAreNotChecked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, addrs...)
		s := w.set()
		defer closeAll(t, s, w)
		service, n := w.watch(s)
		defer n.stop(service)
		time.Sleep(10 * time.Minute)
		w.change(func() {
			for addr, f := range w.sentinels {
				if n := f.commands["PING"]; n < 60 || n > 80 {
					t.Errorf("%d pings in ten minutes at %s: want 60 to 80, one in 7.5 to 10 s", n, addr)
				}
				if f.total > 2+60 {
					t.Errorf("%d connections in ten minutes to %s", f.total, addr)
				}
			}
		})
	})
}
