//go:build linux

package serve

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/tooltest"
	"github.com/seed-2b0d76a6/respool/internal/testkit/clustertest"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// counter sends INCR of its own key, in pipelines, transactions and after large values, until stop is set. Each reply has to be
// the next number.
func counter(addr string, i int, stop *atomic.Bool) (n int, err error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	r := bufio.NewReader(conn)
	key, value := fmt.Sprint("count", i), strings.Repeat("x", 50_000)
	expect := func(want string) {
		if err != nil {
			return
		}
		var got string
		if got, err = r.ReadString('\n'); err == nil && got != want+"\r\n" {
			err = fmt.Errorf("%q: want %q", got, want)
		}
	}
	for round := i; !stop.Load() && err == nil; round++ {
		var b strings.Builder
		var want []string
		incr := func() string {
			n++
			fmt.Fprintf(&b, "*2\r\n$4\r\nINCR\r\n$%d\r\n%s\r\n", len(key), key)
			return fmt.Sprint(":", n)
		}
		switch round % 3 {
		case 0:
			for range 1 + round%40 {
				want = append(want, incr())
			}
		case 1:
			b.WriteString("MULTI\r\n")
			one, two := incr(), incr()
			b.WriteString("EXEC\r\n")
			want = append(want, "+OK", "+QUEUED", "+QUEUED", "*2", one, two)
		case 2:
			fmt.Fprintf(&b, "*2\r\n$4\r\nECHO\r\n$%d\r\n%s\r\n", len(value), value)
			want = append(want, fmt.Sprint("$", len(value)), value, incr())
		}
		sent := make(chan error, 1)
		go func() {
			_, err := io.WriteString(conn, b.String())
			sent <- err
		}()
		for _, line := range want {
			expect(line)
		}
		err = errors.Join(err, <-sent)
	}
	return n, err
}

// No reply is lost, doubled or exchanged while clients send commands all the time, and no client is disconnected. The sockets
// of both processes stay within the limit of the smaller one.
func TestRepliesStayExactInTakeovers(t *testing.T) {
	u := startUpgrades(t, 6)
	const clients = 40
	type result struct {
		i, n int
		err  error
	}
	var stop atomic.Bool
	results := make(chan result, clients)
	for i := range clients {
		go func() {
			n, err := counter(u.addr, i, &stop)
			results <- result{i, n, err}
		}()
	}
	for _, limit := range []int{6, 3, 1, 6} {
		u.flags.URL = fmt.Sprintf("%s?max_connections=%d", u.server.URL(), limit)
		u.succeed(u.next())
	}
	stop.Store(true)
	for range clients {
		got := <-results
		if got.err != nil {
			t.Errorf("client %d after %d commands: %v", got.i, got.n, got.err)
		} else if stored := u.server.Do("GET", fmt.Sprint("count", got.i)); stored != fmt.Sprint(got.n) {
			t.Errorf("client %d: the server has %s: want %d", got.i, stored, got.n)
		}
	}
	u.bounded(6)
}

// The processes share the limit of each node of a service and of a cluster, and no client sees an error.
func TestTakeoversOfSeveralNodesUnderLoad(t *testing.T) {
	succeed := func(t *testing.T, url string, subscribers int) {
		flags := upgradable(t, url)
		u := &upgrades{running: served(t, &flags), t: t, flags: flags}
		l := startLoad(t, u.at(t, 1), subscribers)
		for range 3 {
			l.advance()
			u.succeed(u.next())
		}
		l.advance()
		l.end()
	}
	t.Run("service", func(t *testing.T) {
		set := redistest.StartSentinels(t, redistest.SentinelConfig{Replicas: 1})
		var counts []*redistest.ClientWatch
		for _, n := range set.Nodes {
			counts = append(counts, n.WatchOutsiders())
		}
		succeed(t, set.URL("max_connections=6"), 4)
		for i, count := range counts {
			if peak := count.Stop(); peak > 6 || peak == 0 {
				t.Errorf("%d connections to node %d: want 1 to 6", peak, i)
			}
		}
	})
	t.Run("cluster", func(t *testing.T) {
		cluster := clustertest.Start(t, clustertest.Config{})
		for _, total := range []int{18, 12, 6} { // of 3 primaries
			t.Run(fmt.Sprint(total), func(t *testing.T) {
				count := cluster.Watch()
				succeed(t, cluster.URL("max_connections=6", fmt.Sprint("max_connections_total=", total)), 0) // subscribers stay
				if peak := count.Stop(); peak > total {
					t.Errorf("%d connections to all nodes: want %d at most", peak, total)
				}
				for _, n := range cluster.Primaries() {
					if peak := count.PeakOf(n); peak > 6 || peak == 0 {
						t.Errorf("%d connections to %s: want 1 to 6", peak, n.Addr())
					}
					n.Server.Do("FLUSHALL")
				}
			})
		}
		for total, why := range map[string]string{
			"5": "max_connections_total is 5, and two gateways need a connection to each of 3 primaries", "0": "only one of the configurations has max_connections_total",
		} {
			flags := upgradable(t, cluster.URL("max_connections=6", "max_connections_total=6"))
			r := served(t, &flags)
			tooltest.Dial(t, "tcp", r.at(t, 1)).Do("+OK", "SET", "k", "v")
			flags.URL = cluster.URL("max_connections=6", "max_connections_total="+total)
			if err := notServed(t, &flags); err == nil || !strings.Contains(err.Error(), why) {
				t.Errorf("%v: want %q", err, why)
			}
		}
	})
}
