//go:build unix

package redistest

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/testkit"
)

func TestASentinelSetFailsOver(t *testing.T) {
	for name, cfg := range map[string]SentinelConfig{
		"plain":     {},
		"passwords": {Password: "hushdata", SentinelPassword: "hushsentinel"},
		"TLS":       {TLS: true, Password: "hushdata", SentinelPassword: "hushsentinel"},
		"hostnames": {Hostnames: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			set := StartSentinels(t, cfg)
			watch := set.WatchSwitches()
			began := time.Now()
			old := set.Failover()
			e := watch.Wait(t, "+switch-master", began, setLimit)
			if !strings.HasPrefix(e.Payload, set.Name()+" ") {
				t.Errorf("got %q", e.Payload)
			}
			now := set.WaitPrimary(t, old, setLimit)
			set.WaitHealthy(t, setLimit)

			now.Kill()
			if third := set.WaitPrimary(t, now, setLimit); third == now {
				t.Error("a dead node is the primary")
			}
			now.Restart()
			set.WaitHealthy(t, setLimit)
			if n := len(set.Replicas()); n != 2 {
				t.Errorf("%d replicas: want 2", n)
			}
		})
	}
}

func TestOnlyClientsCountAsOutsiders(t *testing.T) {
	set := StartSentinels(t, SentinelConfig{})
	for _, s := range []*Server{set.Nodes[0], set.Sentinels[0]} {
		s.WaitOutsiders(t, 0, setLimit)
		watch := s.WatchOutsiders()
		named, err := s.dial()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := named.do("CLIENT", "SETNAME", "somebody"); err != nil {
			t.Fatal(err)
		}
		bare, err := net.Dial("tcp", s.PlainAddr())
		if err != nil {
			t.Fatal(err)
		}
		testkit.AwaitWithin(t, setLimit, "two connections of clients", watch.Peak, testkit.AtLeast(2))
		named.close()
		bare.Close()
		s.WaitOutsiders(t, 0, setLimit)
		if peak := watch.Stop(); peak != 2 {
			t.Errorf("the watch saw %d at peak: want 2", peak)
		}
	}
}
