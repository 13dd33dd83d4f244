package gateway_test

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/seed-2b0d76a6/respool/internal/gateway"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

func TestEachLoopOpensALane(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	// The gateway's own queries use the protocol of the clients, so that they share the lanes.
	h := open(t, s.URL()+"?max_connections=8&lanes=4&protocol=2", gateway.Config{Loops: 4})
	peers := make([]*peer, 4)
	for i := range peers {
		peers[i] = h.dial()
	}
	testkit.Eventually(t, "each loop has a lane", func() bool {
		for _, p := range peers {
			if got := p.ask("GET none"); got != "$-1|" {
				t.Fatal(got)
			}
		}
		return h.client.Stats().Lanes == 4
	})
	if got := peers[0].ask("RESPOOL CONFIG"); !strings.Contains(got, "|loops=4|") {
		t.Error(got)
	}
}

// With more loops than connections, the loops share them. Each client writes its own key and reads it, so that a reply
// of another client or of an earlier command is noticed. Meanwhile the server closes the connections, and clients leave.
func TestRepliesStayInOrderOverAllLoops(t *testing.T) {
	for _, c := range []struct{ loops, connections int }{{2, 1}, {4, 1}, {4, 3}, {3, 8}} {
		t.Run(fmt.Sprintf("%d-%d", c.loops, c.connections), func(t *testing.T) {
			s := redistest.Start(t, redistest.Config{})
			watch := s.WatchOutsiders()
			h := open(t, fmt.Sprintf("%s?max_connections=%d&timeout=20", s.URL(), c.connections), gateway.Config{Loops: c.loops})
			var clients sync.WaitGroup
			var rounds atomic.Int64
			for id := range 12 {
				clients.Go(func() { keepOrder(t, h, id, &rounds) })
			}
			for done := int64(0); done < 12; done++ {
				testkit.Eventually(t, "the clients continue", func() bool { return rounds.Load() > 40*done })
				s.Do("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
			}
			clients.Wait()
			if most := watch.Stop(); most > c.connections {
				t.Errorf("the server counted %d connections: want %d at most", most, c.connections)
			}
		})
	}
}

// keepOrder sends pipelines over several connections, one after another.
func keepOrder(t *testing.T, h *testGateway, id int, rounds *atomic.Int64) {
	p, stored := h.dial(), false
	for round := range 60 {
		if round%20 == 19 {
			p.Close()
			p = h.dial()
		}
		var sent []string
		for i := range 10 {
			sent = append(sent, fmt.Sprintf("SET key%d %d-%d-%d", id, id, round, i), fmt.Sprintf("GET key%d", id))
		}
		p.send(sent...)
		written := true
		for i := range sent {
			got, err := p.tryFrame()
			if err != nil {
				t.Errorf("client %d: %v", id, err)
				return
			}
			value := strings.Fields(sent[i/2*2])[2]
			switch {
			case i%2 == 0:
				if written = got == "+OK\r\n"; !written && !strings.HasPrefix(got, "-") {
					t.Errorf("client %d: SET returned %q", id, got)
				}
				stored = stored || written
			case !stored && got == "$-1\r\n": // the server closed the connection during the first SET
			case written && strings.HasPrefix(got, "$") && got != fmt.Sprintf("$%d\r\n%s\r\n", len(value), value):
				t.Errorf("client %d: GET behind %s returned %q", id, value, got)
			case !strings.HasPrefix(got, "-") && !strings.HasPrefix(got, "_") && !strings.Contains(got, fmt.Sprintf("\n%d-", id)):
				t.Errorf("client %d: GET returned %q", id, got)
			}
		}
		rounds.Add(1)
	}
}
