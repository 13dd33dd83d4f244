package respool_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// reconfigurable returns a client of a server, and its options.
func reconfigurable(t *testing.T, url string) (*respool.Client, respool.Options) {
	t.Helper()
	opt, err := respool.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	c, err := respool.New(opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	if err := c.Do(t.Context(), "SET", "k", "v").Err(); err != nil {
		t.Fatal(err)
	}
	return c, opt
}

// The only place is enough: the attempt, the old connection and the new one use it in turn.
func TestReconfigureWithOneConnection(t *testing.T) {
	a, b := redistest.Start(t, redistest.Config{}), redistest.Start(t, redistest.Config{Password: "secret"})
	countA, countB := a.WatchClients(), b.WatchClients()
	c, opt := reconfigurable(t, a.URL()+"?max_connections=1")
	opt.Addr, opt.Password = b.Addr(), "wrong"
	if _, err := c.Reconfigure(t.Context(), opt); err == nil || !strings.Contains(err.Error(), "refused the username or password") || strings.Contains(err.Error(), "wrong") {
		t.Errorf("a wrong password: %v", err)
	}
	if got, err := c.Do(t.Context(), "GET", "k").Text(); got != "v" || err != nil {
		t.Errorf("after a failed attempt: %q, %v", got, err)
	}
	opt.Password = "secret"
	changes, err := c.Reconfigure(t.Context(), opt)
	if err != nil || len(changes) != 2 {
		t.Fatalf("%+v, %v", changes, err)
	}
	if _, err := c.Do(t.Context(), "GET", "k").Text(); !errors.Is(err, respool.ErrNil) {
		t.Errorf("the new server: %v", err)
	}
	a.WaitClients(t, 0, 10*time.Second)
	if x, y := countA.Stop(), countB.Stop(); x > 1 || y > 1 {
		t.Errorf("%d and %d connections: want 1 at most", x, y)
	}
	if again, err := c.Reconfigure(t.Context(), opt); len(again) != 0 || err != nil {
		t.Errorf("the same options: %+v, %v", again, err)
	}
	if c.Stats().Addr != b.Addr() {
		t.Error(c.Stats())
	}
}

// An attempt without a free connection fails in time, and the bound is as before.
func TestReconfigureWaitsForAConnection(t *testing.T) {
	a, b := redistest.Start(t, redistest.Config{}), redistest.Start(t, redistest.Config{})
	c, opt := reconfigurable(t, a.URL()+"?max_connections=1&socket_connect_timeout=0.5")
	held, err := c.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	opt.Addr = b.Addr()
	if _, err := c.Reconfigure(t.Context(), opt); !errors.Is(err, respool.ErrPoolExhausted) {
		t.Errorf("all connections are used: %v", err)
	}
	if err := held.Do(t.Context(), "GET", "k").Err(); err != nil {
		t.Error(err)
	}
	held.Release()
	if _, err := c.Reconfigure(t.Context(), opt); err != nil {
		t.Error(err)
	}
	if err := c.Do(t.Context(), "GET", "k").Err(); err != nil {
		t.Error(err)
	}
	if n := c.Stats().MaxConnections; n != 1 {
		t.Errorf("max_connections is %d", n)
	}
}

func TestReconfigureRefusesAnotherKindOfServer(t *testing.T) {
	a := redistest.Start(t, redistest.Config{})
	c, opt := reconfigurable(t, a.URL())
	opt.Addr, opt.Cluster = "", &respool.ClusterOptions{Addrs: []string{a.Addr()}}
	if _, err := c.Reconfigure(t.Context(), opt); err == nil || !strings.Contains(err.Error(), "a single server with a fixed login cannot become a cluster with a fixed login") {
		t.Error(err)
	}
}

// The client of a node shares the connections of its client, and leaves them open.
func TestTheClientOfANodeSharesConnections(t *testing.T) {
	a := redistest.Start(t, redistest.Config{})
	count := a.WatchClients()
	c, _ := reconfigurable(t, a.URL()+"?max_connections=1")
	n := c.Node(a.Addr())
	if got, err := n.Do(t.Context(), "GET", "k").Text(); got != "v" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if err := n.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if err := n.Do(t.Context(), "GET", "k").Err(); !errors.Is(err, respool.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if got, err := c.Do(t.Context(), "GET", "k").Text(); got != "v" || err != nil {
		t.Errorf("the client itself: %q, %v", got, err)
	}
	testkit.Eventually(t, "the watch counts a connection", func() bool { return count.Peak() > 0 })
	if peak := count.Stop(); peak != 1 {
		t.Errorf("%d connections: want 1", peak)
	}
}

// While another process uses connections of the limit, callers wait for the rest, and for a place if there is none. Resize does
// not end that.
func TestARestrictedClientWaits(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	c, _ := reconfigurable(t, s.URL()+"?max_connections=4&min_idle=3")
	s.WaitClients(t, 4, 10*time.Second)
	e := c.Engine()
	e.Restrict(2)
	s.WaitClients(t, 2, 10*time.Second)
	e.Restrict(0)
	s.WaitClients(t, 0, 10*time.Second)
	if err := c.Resize(3); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- c.Do(t.Context(), "GET", "k").Err() }()
	testkit.Eventually(t, "the caller waits", func() bool { return c.Stats().Waiting == 1 })
	testkit.Await(t, "the closed sockets are gone", func() int { return c.Stats().Sockets() }, testkit.Is(0))
	e.Unrestrict()
	if err := <-done; err != nil {
		t.Error(err)
	}
	s.WaitClients(t, 3, 10*time.Second)
}
