//go:build unix

package clustertest

import (
	"errors"
	"net"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/testkit"
)

func TestOnlyClientsAreCounted(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]Config{"direct": {}, "relays": {Relays: true}, "TLS": {TLSOnly: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := Start(t, cfg)
			w := c.Watch()
			var conns []net.Conn
			for _, n := range c.Nodes() {
				conn := connect(t, n)
				ask(t, conn, "CLIENT SETNAME somebody")
				conns = append(conns, conn, connect(t, n))
			}
			for _, conn := range conns {
				want(t, "PING", ask(t, conn, "PING"), "+PONG")
			}
			testkit.Await(t, "the peak", w.Peak, testkit.Is(12))
			// Replicas that connect again and nodes that move keys are no clients.
			from, to := c.Owner(0), c.Owner(Slots-1)
			from.Do("SET", testkit.SlotKey(0, "k"), "v")
			c.MoveSlots(from, to, 0)
			c.Failover(to, "")
			joined := c.AddReplica(from)
			c.WaitClients(t, 12, limit)
			for _, conn := range conns {
				conn.Close()
			}
			c.WaitClients(t, 0, limit)
			if peak := w.Stop(); peak != 12 {
				t.Errorf("the peak is %d: want 12:\n%s", peak, w.AtPeak())
			}
			for _, n := range c.Nodes() {
				if peak, want := w.PeakOf(n), map[bool]int{true: 0, false: 2}[n == joined]; peak != want {
					t.Errorf("the peak of %s is %d: want %d", n.Addr(), peak, want)
				}
			}
		})
	}
}

// The peak of all nodes counts only connections that were open at one time.
func TestConnectionsOneAfterTheOtherAreNotAddedUp(t *testing.T) {
	t.Parallel()
	c := &Cluster{t: t}
	a, b := &Node{c: c}, &Node{c: c}
	for _, n := range []*Node{a, b} {
		n.Server = Start(t, Config{Primaries: 1, Replicas: -1}).Nodes()[0].Server
	}
	w := &Watch{c: c, nodes: map[*Node]*sampled{a: {}, b: {}}}
	start := time.Now()
	sample := func(n *Node, from, to int, lines ...string) {
		w.record(n, lines, nil, start.Add(time.Duration(from)*time.Second), start.Add(time.Duration(to)*time.Second))
	}
	sample(a, 0, 1, "id=1 addr=x")
	sample(a, 2, 3, "id=1 addr=x") // open for sure from 1 to 2
	sample(b, 2, 3, "id=1 addr=y")
	sample(b, 4, 5, "id=1 addr=y") // from 3 to 4
	if got := w.Peak(); got != 1 {
		t.Errorf("the peak is %d: want 1: %s", got, w.AtPeak())
	}
	sample(a, 4, 5, "id=1 addr=x", "id=2 addr=z") // the first to 4
	if got := w.Peak(); got != 2 {
		t.Errorf("the peak is %d: want 2: %s", got, w.AtPeak())
	}
	sample(b, 6, 7, "id=1 addr=y", "id=3 addr=v")
	w.record(b, nil, errors.New("down"), start, start)
	sample(b, 8, 9, "id=1 addr=y", "id=3 addr=v") // not known to be the same
	if got := w.Peak(); got != 2 {
		t.Errorf("the peak is %d: want 2: %s", got, w.AtPeak())
	}
}

func TestCallsOfClientsAreCounted(t *testing.T) {
	t.Parallel()
	c := Start(t, Config{})
	before := c.Calls("cluster|slots")
	if before != 0 {
		t.Errorf("%d calls before the first client: want 0", before)
	}
	conn := connect(t, c.Owner(0))
	ask(t, conn, "CLUSTER SLOTS")
	ask(t, conn, "GET "+testkit.SlotKey(Slots-1, "k"))
	ask(t, conn, "GET "+testkit.SlotKey(0, "k"))
	c.WaitHealthy(t, limit) // queries of this package do not count
	if n := c.Calls("cluster|slots"); n != 1 {
		t.Errorf("%d calls of CLUSTER SLOTS: want 1", n)
	}
	if n := c.Calls("get"); n != 1 {
		t.Errorf("%d calls of GET: want 1", n)
	}
	if n := c.ErrorReplies("MOVED"); n != 1 {
		t.Errorf("%d redirects: want 1", n)
	}
}
