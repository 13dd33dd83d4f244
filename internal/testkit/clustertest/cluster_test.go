//go:build unix

package clustertest

import (
	"crypto/tls"
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// connect connects to a node like a client.
func connect(t testing.TB, n *Node) net.Conn {
	t.Helper()
	conn, err := net.DialTimeout("tcp", n.Addr(), testkit.Patience)
	if err != nil {
		t.Fatal(err)
	}
	if n.CAFile() != "" {
		conn = tls.Client(conn, n.TLSConfig())
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(testkit.Patience))
	return conn
}

// ask sends an inline command and returns the first line of the reply.
func ask(t testing.TB, conn net.Conn, command string) string {
	t.Helper()
	line, err := exchange(conn, command)
	if err != nil {
		t.Fatal(err)
	}
	return line
}

// exchange is ask for any goroutine.
func exchange(conn net.Conn, command string) (string, error) {
	if _, err := conn.Write([]byte(command + "\r\n")); err != nil {
		return "", fmt.Errorf("%s: %w", command, err)
	}
	buf := make([]byte, 4096)
	text := ""
	for !strings.Contains(text, "\r\n") {
		n, err := conn.Read(buf)
		if err != nil {
			return "", fmt.Errorf("%s: %w", command, err)
		}
		text += string(buf[:n])
	}
	line, _, _ := strings.Cut(text, "\r\n")
	return line, nil
}

func want(t testing.TB, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %q: want %q", what, got, want)
	}
}

func TestAClusterServesAllSlots(t *testing.T) {
	t.Parallel()
	since70 := redistest.ServerVersion(t).Since(7, 0)
	for name, cfg := range map[string]Config{
		"default":         {},
		"no replicas":     {Primaries: 2, Replicas: -1},
		"one node":        {Primaries: 1, Replicas: -1},
		"more replicas":   {Primaries: 2, Replicas: 2, Password: "hush"},
		"TLS":             {Primaries: 2, TLS: true, Users: []string{"user alice on >secret ~* &* +@all"}},
		"TLS only":        {Primaries: 2, TLSOnly: true, Password: "hush"},
		"relays":          {Relays: true, BusRelays: true},
		"relays with TLS": {Primaries: 2, Relays: true, BusRelays: true, TLSOnly: true},
		"hostnames":       {Primaries: 2, Hostnames: []string{"a.test", "b.test"}, TLSOnly: true, Relays: true},
	} {
		if len(cfg.Hostnames) > 0 && !since70 {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := Start(t, cfg)
			primaries := c.Primaries()
			if n, m := len(primaries), len(c.Replicas()); n != c.cfg.Primaries || m != n*max(0, c.cfg.Replicas) {
				t.Errorf("%d primaries and %d replicas: want %+v", n, m, cfg)
			}
			for i, p := range primaries {
				first := i * Slots / len(primaries)
				conn := connect(t, p)
				if cfg.Password != "" {
					want(t, "AUTH", ask(t, conn, "AUTH "+cfg.Password), "+OK")
				}
				if len(cfg.Users) > 0 {
					want(t, "AUTH", ask(t, conn, "AUTH alice secret"), "+OK")
				}
				key := testkit.SlotKey(first, "k")
				want(t, "SET", ask(t, conn, "SET "+key+" v"), "+OK")
				moved := testkit.SlotKey((first+Slots-1)%Slots, "k")
				if owner := c.OwnerOf(moved); owner != p {
					want(t, "a redirect", ask(t, conn, "GET "+moved), "-MOVED "+strconv.Itoa(testkit.KeySlot(moved))+" "+owner.Endpoint())
				}
			}
		})
	}
}

func TestNodesJoinAndLeave(t *testing.T) {
	t.Parallel()
	c := Start(t, Config{Primaries: 1, Replicas: -1})
	first := c.Nodes()[0]
	p := c.AddPrimary()
	r := c.AddReplica(first)
	if got := c.ReplicasOf(first); len(got) != 1 || got[0] != r {
		t.Errorf("the replicas are %v: want %v", Addrs(got), r.Addr())
	}
	if got := c.Primaries(); len(got) != 2 || got[1] != p {
		t.Errorf("the primaries are %v: want %v last", Addrs(got), p.Addr())
	}
	if c.removable(first) == nil {
		t.Error("a primary with slots is removable")
	}
	c.Remove(r)
	c.Remove(p)
	want(t, "the nodes", strings.Join(Addrs(c.Nodes()), ","), first.Addr())
	if text := p.Do("CLUSTER", "NODES"); strings.Contains(text, first.ID) {
		t.Errorf("the removed node knows the others: %s", text)
	}
}

func TestARestartedNodeJoinsAgain(t *testing.T) {
	t.Parallel()
	c := Start(t, Config{})
	dead := c.Replicas()[0]
	dead.Kill()
	c.WaitHealthy(t, limit)
	if n := len(c.Replicas()); n != 2 {
		t.Errorf("%d replicas: want 2", n)
	}
	dead.Restart()
	c.WaitHealthy(t, limit)
	if n := len(c.Replicas()); n != 3 {
		t.Errorf("%d replicas: want 3", n)
	}
}
