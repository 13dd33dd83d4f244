//go:build unix

package clustertest

import (
	"errors"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

func TestAReplicaIsPromoted(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"", "FORCE", "TAKEOVER"} {
		t.Run("mode "+mode, func(t *testing.T) {
			t.Parallel()
			c := Start(t, Config{Password: "hush"})
			key := testkit.SlotKey(0, "k")
			old := c.OwnerOf(key)
			old.Do("SET", key, "v")
			promoted := c.Failover(old, mode)
			if now := c.Owner(0); now != promoted || now == old {
				t.Errorf("slot 0 belongs to %s: want %s", now.Addr(), promoted.Addr())
			}
			want(t, "the old primary's primary", c.primaryOf(t, old), promoted.ID)
			want(t, "GET", promoted.Do("GET", key), "v")
		})
	}
}

// primaryOf returns the ID of the primary of a replica, as the replica says itself.
func (c *Cluster) primaryOf(t testing.TB, n *Node) string {
	t.Helper()
	v, err := n.view()
	if err != nil {
		t.Fatal(err)
	}
	return v.self.primary
}

func TestAReplicaTakesOverFromADeadOrPausedPrimary(t *testing.T) {
	t.Parallel()
	for name, x := range map[string]struct{ fail, recover func(*Node) }{
		"dead":   {func(n *Node) { n.Kill() }, func(n *Node) { n.Restart() }},
		"paused": {func(n *Node) { n.Pause() }, func(n *Node) { n.Resume() }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := Start(t, Config{})
			old := c.Owner(0)
			x.fail(old)
			now := c.WaitOwner(t, 0, old, limit)
			c.WaitAgreed(t, limit)
			if n := len(c.Primaries()); n != 3 {
				t.Errorf("%d primaries work: want 3", n)
			}
			x.recover(old)
			c.WaitHealthy(t, limit)
			want(t, "the old primary's primary", c.primaryOf(t, old), now.ID)
		})
	}
}

func TestAnIsolatedPrimaryIsReplaced(t *testing.T) {
	t.Parallel()
	c := Start(t, Config{Relays: true, BusRelays: true})
	old := c.Owner(0)
	key := testkit.SlotKey(0, "k")
	conn := connect(t, old)
	c.Partition(old)
	want(t, "a write in the minority", ask(t, conn, "SET "+key+" lost"), "+OK")
	now := c.WaitOwner(t, 0, old, limit)
	want(t, "the value in the majority", now.Do("GET", key), "")
	testkit.Await(t, "the minority refuses", func() string { return ask(t, conn, "GET "+key) },
		func(reply string) bool { return strings.HasPrefix(reply, "-CLUSTERDOWN") })
	want(t, "a client of the majority", ask(t, connect(t, now), "SET "+key+" v"), "+OK")
	c.Heal()
	want(t, "the old primary's primary", c.primaryOf(t, old), now.ID)
}

func TestClientsAreSeparatedFromANode(t *testing.T) {
	t.Parallel()
	c := Start(t, Config{Relays: true})
	n := c.Owner(0)
	conn := connect(t, n)
	want(t, "PING", ask(t, conn, "PING"), "+PONG")
	n.BlockClients(true)
	blocked := connect(t, n)
	for _, conn := range []net.Conn{conn, blocked} {
		if _, err := conn.Write([]byte("SET " + testkit.SlotKey(0, "k") + " v\r\n")); err != nil {
			t.Error(err)
		}
	}
	c.WaitHealthy(t, limit)
	n.BlockClients(false)
	for _, conn := range []net.Conn{conn, blocked} {
		if n, err := conn.Read(make([]byte, 1)); n != 0 || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a blocked connection reads %d bytes, %v: want a reset", n, err)
		}
	}
	want(t, "the key", ask(t, connect(t, n), "GET "+testkit.SlotKey(0, "k")), "$-1")
	// Blocking clients costs the replica nothing.
	if n := n.Info("replication")["connected_slaves"]; n != "1" {
		t.Errorf("%s replicas are connected: want 1", n)
	}
}

func TestAllAddressesChange(t *testing.T) {
	t.Parallel()
	if !redistest.ServerVersion(t).Since(7, 0) {
		return
	}
	c := Start(t, Config{Relays: true})
	before := Addrs(c.Nodes())
	c.Relocate()
	n := c.Owner(0)
	want(t, "a redirect", ask(t, connect(t, n), "GET "+testkit.SlotKey(Slots-1, "k")), "-MOVED 16383 "+c.Owner(Slots-1).Addr())
	text := n.cluster("NODES")
	for _, addr := range before {
		if strings.Contains(text, addr+"@") || c.Node(addr) != nil {
			t.Errorf("the old address %s is known", addr)
		}
	}
}
