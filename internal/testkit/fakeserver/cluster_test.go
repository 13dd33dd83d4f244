package fakeserver

import (
	"bufio"
	"context"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/testkit"
)

func TestAFakeClusterRedirectsByItsMap(t *testing.T) {
	c := StartCluster(t, ClusterConfig{Replicas: 1})
	first, last := testkit.SlotKey(0, "a"), testkit.SlotKey(testkit.Slots-1, "b")
	node := func(i int) string { return c.Nodes()[i].Addr() }
	moved := func(slot string, i int) string { return "-MOVED " + slot + " " + node(i) + "\r\n" }

	want(t, "its slot", talk(t, node(0), "SET "+first+" v", "GET "+first), "+OK\r\n$1\r\nv\r\n")
	want(t, "another's", talk(t, node(0), "GET "+last, "PING"), moved("16383", 2)+"+PONG\r\n")
	want(t, "a replica", talk(t, node(3), "GET "+first, "READONLY", "GET "+first, "ASKING", "SET "+first+" x", "READWRITE", "GET "+first),
		moved("0", 0)+"+OK\r\n$1\r\nv\r\n+OK\r\n"+moved("0", 0)+"+OK\r\n"+moved("0", 0))

	c.Assign(1, 0, 99)
	want(t, "the old owner", talk(t, node(0), "GET "+first), moved("0", 1))
	want(t, "the new owner", talk(t, node(1), "GET "+first), "$1\r\nv\r\n")
	c.Promote(5)
	want(t, "after the promotion", talk(t, node(2), "GET "+last), moved("16383", 5))
	want(t, "ROLE", talk(t, node(2), "ROLE")[:15], "*5\r\n$5\r\nslave\r\n")
	c.Announce(1, ":7000")
	want(t, "an empty host", talk(t, node(0), "GET "+first), "-MOVED 0 :7000\r\n")

	c.Assign(-1, 0, 0)
	want(t, "no owner", talk(t, node(0), "GET "+first), "-CLUSTERDOWN Hash slot not served\r\n")
	c.SetDown(true)
	want(t, "down", talk(t, node(0), "GET "+last, "PING"), "-CLUSTERDOWN The cluster is down\r\n+PONG\r\n")
	if owner := c.Owner(0); owner != -1 || c.Owner(testkit.Slots-1) != 5 {
		t.Errorf("the owners are %d and %d: want -1 and 5", owner, c.Owner(testkit.Slots-1))
	}
	if n := c.Count("get"); n != 11 {
		t.Errorf("%d GETs: want 11", n)
	}
}

func TestAFakeClusterReportsItsMap(t *testing.T) {
	c := StartCluster(t, ClusterConfig{Primaries: 1, Replicas: 1, Node: Config{Version: Redis62}})
	c.Announce(0, "a:1")
	c.Announce(1, "b:2")
	c.Assign(-1, 3, 3)
	zero, one := id(0), id(1)
	nodes := "*3\r\n$1\r\na\r\n:1\r\n" + Bulk(zero) + "*3\r\n$1\r\nb\r\n:2\r\n" + Bulk(one)
	want(t, "SLOTS", talk(t, c.Nodes()[0].Addr(), "CLUSTER SLOTS"), "*2\r\n*4\r\n:0\r\n:2\r\n"+nodes+"*4\r\n:4\r\n:16383\r\n"+nodes)
	want(t, "NODES", talk(t, c.Nodes()[1].Addr(), "CLUSTER NODES"),
		Bulk(zero+" a:1@10001 master - 0 0 2 connected 0-2 4-16383\n"+one+" b:2@10002 myself,slave "+zero+" 0 0 2 connected\n"))
	info := talk(t, c.Nodes()[0].Addr(), "CLUSTER INFO")
	for _, line := range []string{"cluster_state:ok", "cluster_slots_assigned:16383", "cluster_known_nodes:2", "cluster_size:1", "cluster_current_epoch:2"} {
		if !strings.Contains(info, line+"\r\n") {
			t.Errorf("CLUSTER INFO lacks %s: %q", line, info)
		}
	}
	want(t, "SHARDS before 7.0", talk(t, c.Nodes()[0].Addr(), "CLUSTER SHARDS"), Redis62.unknownSubcommand("CLUSTER", "SHARDS"))
	var names []string
	for _, q := range c.Queries() {
		names = append(names, q.Name+" "+string(rune('0'+q.Node)))
	}
	want(t, "the queries", strings.Join(names, ", "), "SLOTS 0, NODES 1, INFO 0")
}

func TestQueriesInFlightAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := StartCluster(t, ClusterConfig{Primaries: 100, Node: Config{Memory: true}, QueryDelay: time.Second})
		began := time.Now()
		ask := func(addr string) {
			conn, err := c.Dial(context.Background(), "tcp", addr)
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := io.WriteString(conn, "CLUSTER SLOTS\r\n"); err != nil {
				t.Error(err)
			}
			if line, err := bufio.NewReader(conn).ReadString('\n'); line != "*100\r\n" {
				t.Errorf("got %q, %v: want 100 ranges", line, err)
			}
			conn.Close()
		}
		ask(c.Addrs()[0])
		ask(c.Addrs()[1])
		if n := c.MostInFlight(); n != 1 {
			t.Errorf("%d queries in flight: want 1", n)
		}
		var both sync.WaitGroup
		both.Go(func() { ask(c.Addrs()[98]) })
		both.Go(func() { ask(c.Addrs()[99]) })
		both.Wait()
		if n := c.MostInFlight(); n != 2 {
			t.Errorf("%d queries in flight: want 2", n)
		}
		for i, q := range c.Queries() {
			if after := q.At.Sub(began); after != []time.Duration{0, time.Second, 2 * time.Second, 2 * time.Second}[i] {
				t.Errorf("query %d arrived after %v", i, after)
			}
		}
		if _, err := c.Dial(context.Background(), "tcp", "elsewhere:1"); err == nil {
			t.Error("an unknown address is dialed")
		}
		synctest.Wait()
		if c.Accepted() != 4 || c.Open() != 0 {
			t.Errorf("%d connections, %d open: want 4 and 0", c.Accepted(), c.Open())
		}
	})
}
