package serve

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/tooltest"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/clustertest"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

var stormClients = flag.Int("storm", 200, "how many clients at a time the tests of the bound connect")

// storm connects clients, and has each of them send a command, WATCH a key, block, or subscribe. It returns when all have their
// replies, and keeps them connected.
func storm(t *testing.T, addr string, n int) {
	t.Helper()
	failed := make(chan error, n)
	for i := range n {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		go func() { failed <- stormClient(conn, i) }()
	}
	for range n {
		if err := <-failed; err != nil {
			t.Fatal(err)
		}
	}
}

// stormClient sends the commands of one client.
func stormClient(conn net.Conn, i int) error {
	r := bufio.NewReader(conn)
	ask := func(line, want string) error {
		if _, err := io.WriteString(conn, line+"\r\n"); err != nil {
			return err
		}
		got, err := r.ReadString('\n')
		if err == nil && !strings.HasPrefix(got, want) {
			err = fmt.Errorf("%s: %q: want %q", line, got, want)
		}
		return err
	}
	if err := ask(fmt.Sprint("SET k", i, " v"), "+OK"); err != nil {
		return err
	}
	switch {
	case i%40 == 1: // in turn, because each one takes a connection
		if err := ask(fmt.Sprint("WATCH k", i), "+OK"); err != nil {
			return err
		}
		return ask("UNWATCH", "+OK")
	case i%4 == 1:
		_, err := io.WriteString(conn, fmt.Sprint("BLPOP list", i, " 0\r\n"))
		return err
	case i%4 == 2:
		return ask(fmt.Sprint("SUBSCRIBE c", i%8), "*3")
	}
	return ask(fmt.Sprint("GET k", i), "$1")
}

// listed waits until the watch of a gateway has listed the clients of each of n nodes.
func (r *running) listed(t *testing.T, n int) {
	t.Helper()
	testkit.Eventually(t, "the watch has listed the clients of each node", func() bool {
		seen := 0
		for _, node := range r.watcher.State().Nodes {
			if node.Up && node.List != nil {
				seen++
			}
		}
		return seen == n
	})
}

// follows waits until the watch of a gateway reports that the node at an address is a primary, and all nodes answer.
func (r *running) follows(t *testing.T, addr string) {
	t.Helper()
	testkit.Eventually(t, "the watch sees the new primary", func() bool {
		found := false
		for _, node := range r.watcher.State().Nodes {
			if !node.Up {
				return false
			}
			found = found || node.Addr == addr && node.Role == "primary"
		}
		return found
	})
	tooltest.Dial(t, "tcp", r.at(t, 1)).Do("+OK", "SET", "k0", "v")
}

// The watch of a gateway counts within max_connections: of a single server, of each node of a service, and of each node of a
// cluster, before and after a failover. So do the queries of doctor through the gateway's pages.
func TestTheBoundCountsEveryConnection(t *testing.T) {
	const most = 8
	config := func(t *testing.T, url string) *running {
		r := served(t, &Flags{Config: tooltest.File(t, "respool.yaml", "url: '"+url+"'\nevery: 100ms\nlist_every: 200ms\ntell: []\nserve:\n  listen: ['127.0.0.1:0']\n")})
		return r
	}
	use := func(t *testing.T, r *running, nodes int) {
		r.listed(t, nodes)
		storm(t, r.at(t, 1), *stormClients)
		r.page(t, "/api/connections", 200)
		r.listed(t, nodes)
	}
	t.Run("single", func(t *testing.T) {
		s := redistest.Start(t, redistest.Config{})
		count := s.WatchClients()
		use(t, config(t, s.URL()+"?max_connections=8"), 1)
		if peak := count.Stop(); peak > most {
			t.Errorf("%d connections: want %d at most", peak, most)
		}
	})
	t.Run("service", func(t *testing.T) {
		set := redistest.StartSentinels(t, redistest.SentinelConfig{Replicas: 1})
		var counts []*redistest.ClientWatch
		for _, n := range set.Nodes {
			counts = append(counts, n.WatchOutsiders())
		}
		r := config(t, set.URL("max_connections=8"))
		use(t, r, 2)
		old := set.Failover()
		r.follows(t, set.AddrOf(set.WaitPrimary(t, old, 2*tooltest.Patience)))
		for i, count := range counts {
			if peak := count.Stop(); peak > most || peak == 0 {
				t.Errorf("%d connections to node %d: want 1 to %d", peak, i, most)
			}
		}
	})
	t.Run("cluster", func(t *testing.T) {
		c := clustertest.Start(t, clustertest.Config{})
		count := c.Watch()
		r := config(t, c.URL("max_connections=8"))
		use(t, r, 6)
		r.follows(t, c.Failover(c.Primaries()[0], "FORCE").Addr())
		count.Stop()
		for _, n := range c.Nodes() {
			if peak := count.PeakOf(n); peak > most || peak == 0 {
				t.Errorf("%d connections to %s: want 1 to %d", peak, n.Addr(), most)
			}
		}
	})
}
