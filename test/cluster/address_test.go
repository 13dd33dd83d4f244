package cluster

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/clustertest"
	"github.com/seed-2b0d76a6/respool/internal/testkit/fakeserver"
	"github.com/seed-2b0d76a6/respool/internal/testkit/faultnet"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// clientOf returns a client with changed options, and closes it at the end of the test.
func clientOf(t testing.TB, url string, change func(*respool.Options)) *respool.Client {
	t.Helper()
	opt, err := respool.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	change(&opt)
	client, err := respool.New(opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := client.Close(context.Background()); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return client
}

// setAll writes n keys of different slots.
func setAll(ctx context.Context, client *respool.Client, n int) error {
	for i := range n {
		if err := client.Do(ctx, "SET", key(i), i).Err(); err != nil {
			return err
		}
	}
	return nil
}

// Nodes that announce names have certificates for these names alone. A redirect names a host, too.
func TestCertificatesAreVerifiedByTheAnnouncedName(t *testing.T) {
	names := []string{"one.cluster.test", "two.cluster.test", "three.cluster.test"}
	c := clustertest.Start(t, clustertest.Config{Replicas: -1, TLS: true, Hostnames: names})
	if !c.Nodes()[0].Version().Since(7, 0) {
		return // servers announce names since 7.0
	}
	resolve := func(ctx context.Context, network, addr string) (net.Conn, error) {
		_, port, _ := net.SplitHostPort(addr)
		return (&net.Dialer{}).DialContext(ctx, network, net.JoinHostPort("127.0.0.1", port))
	}
	client := clientOf(t, c.URL(), func(o *respool.Options) { o.Dialer = resolve })
	ctx := patient(t)
	if err := setAll(ctx, client, 50); err != nil {
		t.Fatal(err)
	}
	from, to := c.Owner(0), c.Owner(clustertest.Slots-1)
	k := keyAt(c, from, 0)
	c.MoveSlots(from, to, slotOf(k))
	if err := client.Do(ctx, "SET", k, 1).Err(); err != nil {
		t.Errorf("after a move: %v", err)
	}
	for _, addr := range client.Stats().Cluster.Primaries {
		if host, _, _ := net.SplitHostPort(addr); !slices.Contains(names, host) {
			t.Errorf("a primary is %s: want an announced name", addr)
		}
	}
	wrong := clientOf(t, c.URL(), func(o *respool.Options) {
		o.Dialer = resolve
		o.ConnectTimeout = time.Second
		o.Cluster.Addrs = []string{strings.Replace(c.Nodes()[0].Endpoint(), names[0], "other.cluster.test", 1)}
	})
	if err := wrong.Warm(ctx); err == nil || !strings.Contains(err.Error(), "not other.cluster.test") {
		t.Errorf("a name that the certificate lacks: %v", err)
	}
}

// followsAMove checks that a client finds all nodes by their announced addresses, and also by the one in a redirect.
func followsAMove(t *testing.T, c *clustertest.Cluster, client *respool.Client) {
	t.Helper()
	ctx := patient(t)
	if err := setAll(ctx, client, 50); err != nil {
		t.Fatal(err)
	}
	from, to := c.Owner(0), c.Owner(clustertest.Slots-1)
	k := keyAt(c, from, 0)
	c.MoveSlots(from, to, slotOf(k))
	if err := client.Do(ctx, "SET", k, 1).Err(); err != nil {
		t.Errorf("after a move: %v", err)
	}
	if moved := client.Stats().Cluster.Moved; moved != 1 {
		t.Errorf("%d redirects: want one", moved)
	}
}

// The nodes announce addresses that the client cannot reach. map_addr replaces them in the map and in redirects.
func TestAnnouncedAddressesAreMapped(t *testing.T) {
	names := []string{"one.private.test", "two.private.test", "three.private.test"}
	if !redistest.ServerVersion(t).Since(7, 0) {
		return // servers announce names since 7.0
	}
	c := clustertest.Start(t, clustertest.Config{Replicas: -1, Hostnames: names})
	var pairs []string
	for _, n := range c.Nodes() {
		pairs = append(pairs, n.Endpoint()+"="+n.Addr())
	}
	client := openURL(t, "redis+cluster://"+c.Nodes()[0].Addr()+"?map_addr="+strings.Join(pairs, ","))
	followsAMove(t, c, client)
}

// A node without a host in the map, or in a redirect, is the node that was asked. The port of a node that speaks only TLS is
// its TLS port.
func TestAnEmptyHostIsTheOneThatReplied(t *testing.T) {
	if !redistest.ServerVersion(t).Since(7, 0) {
		return // older nodes announce their address always
	}
	for name, cfg := range map[string]clustertest.Config{"plain": {}, "TLS without a plain port": {TLSOnly: true}} {
		t.Run(name, func(t *testing.T) {
			cfg.Replicas = -1
			c := clustertest.Start(t, cfg)
			for _, n := range c.Nodes() {
				n.Do("CONFIG", "SET", "cluster-preferred-endpoint-type", "unknown-endpoint")
			}
			client := openURL(t, c.URL())
			followsAMove(t, c, client)
		})
	}
}

// All addresses change at once. The seeds are names, which lead to the new addresses.
func TestAllAddressesChangeAtOnce(t *testing.T) {
	c := clustertest.Start(t, clustertest.Config{Replicas: -1, Relays: true})
	if !c.Nodes()[0].Version().Since(7, 0) {
		return // older nodes keep their own address until they restart
	}
	client := clientOf(t, c.URL(), func(o *respool.Options) {
		o.WaitTimeout = testkit.Patience
		o.Cluster.Addrs = []string{"seed.cluster.test:1"}
		o.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if addr == "seed.cluster.test:1" {
				addr = c.Nodes()[0].Addr()
			}
			return (&net.Dialer{}).DialContext(ctx, network, addr)
		}
	})
	ctx := patient(t)
	if err := setAll(ctx, client, 50); err != nil {
		t.Fatal(err)
	}
	old := client.Stats().Cluster.Primaries
	c.Relocate()
	if err := setAll(ctx, client, 50); err != nil {
		t.Fatal(err)
	}
	for _, addr := range client.Stats().Cluster.Primaries {
		if slices.Contains(old, addr) {
			t.Errorf("the client still uses %s", addr)
		}
	}
}

// A node that redirects a command to itself does not know better yet: the command waits and succeeds later.
func TestANodeThatRedirectsToItself(t *testing.T) {
	var refusals atomic.Int32
	var self atomic.Value
	c := fakeserver.StartCluster(t, fakeserver.ClusterConfig{Primaries: 1, Answer: func(_ int, _ *fakeserver.Conn, args []string) (string, bool) {
		if args[0] != "SET" || refusals.Add(1) > 3 {
			return "", false
		}
		return fmt.Sprintf("-MOVED %d %s\r\n", slotOf(args[1]), self.Load()), true
	}})
	self.Store(c.Addrs()[0])
	client := openURL(t, "redis+cluster://"+c.Addrs()[0])
	if err := client.Do(patient(t), "SET", "k", 1).Err(); err != nil {
		t.Error(err)
	}
	if n := refusals.Load(); n != 4 {
		t.Errorf("the node received SET %d times: want 4", n)
	}
}

// All nodes announce the address of one proxy, and the proxy passes each connection to one of them, as name records and load
// balancers do. A node that redirects a command to its own address does not serve the slot: only a new connection can reach
// the node that does.
func TestANodeThatRedirectsToItsOwnAddressIsDialedAgain(t *testing.T) {
	c := clustertest.Start(t, clustertest.Config{Replicas: -1})
	from, to := c.Owner(0), c.Owner(clustertest.Slots-1)
	proxy := faultnet.Start(t, from.Addr())
	_, port, _ := net.SplitHostPort(proxy.Addr())
	for _, n := range c.Nodes() {
		n.Do("CONFIG", "SET", "cluster-announce-port", port)
	}
	testkit.Eventually(t, "the proxy is the only address", func() bool {
		slots := from.Do("CLUSTER", "NODES")
		return strings.Count(slots, proxy.Addr()+"@") == len(c.Nodes())
	})
	client := openURL(t, "redis+cluster://"+proxy.Addr()+"?max_connections=2&timeout=30")
	ctx := patient(t)
	if err := client.Do(ctx, "SET", keyAt(c, from, 0), 1).Err(); err != nil {
		t.Fatal(err)
	}
	redirected := make(chan error, 1)
	go func() { redirected <- client.Do(ctx, "SET", keyAt(c, to, 0), 1).Err() }()
	testkit.Eventually(t, "a redirect", func() bool { return client.Stats().Cluster.Moved > 0 })
	proxy.SetTarget(to.Addr())
	if err := <-redirected; err != nil {
		t.Error(err)
	}
}
