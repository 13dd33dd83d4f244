package cluster

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/fakeserver"
)

// A primary dies, and its replica takes over two seconds later. No node answers queries about the map. Callers of every kind
// find the successor within the pause between two questions to the other primaries, and no connection of another node is
// leased to them.
func TestCallersFindTheSuccessorOfTheirPrimary(t *testing.T) {
	key := testkit.SlotKey(0, "k")
	for _, c := range []struct {
		name  string
		write func(ctx context.Context, client *respool.Client) error
	}{
		{"Do", func(ctx context.Context, client *respool.Client) error { return set(ctx, client, key) }},
		{"pipeline", func(ctx context.Context, client *respool.Client) error {
			replies, err := client.Pipeline().Do("SET", key, 1).Do("SET", testkit.SlotKey(16000, "k"), 1).Exec(ctx)
			for _, r := range replies {
				err = errors.Join(err, r.Err())
			}
			return err
		}},
		{"Acquire", func(ctx context.Context, client *respool.Client) error { return setLeased(ctx, client, key) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { testSuccessor(t, c.write) })
		})
	}
}

func testSuccessor(t *testing.T, write func(context.Context, *respool.Client) error) {
	var dead atomic.Bool
	c := fakeserver.StartCluster(t, fakeserver.ClusterConfig{
		Replicas: 1, Node: fakeserver.Config{Memory: true},
		Answer: func(_ int, _ *fakeserver.Conn, args []string) (string, bool) {
			return "-LOADING\r\n", dead.Load() && args[0] == "CLUSTER"
		},
	})
	first := c.Addrs()[0]
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		if dead.Load() && addr == first {
			return nil, errors.New("connection refused")
		}
		return c.Dial(ctx, network, addr)
	}
	client, err := respool.New(respool.Options{Cluster: &respool.ClusterOptions{Addrs: c.Addrs()}, Dialer: dial, WaitTimeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := client.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	if err := set(t.Context(), client, testkit.SlotKey(0, "k")); err != nil { // finds the map, and leaves no idle connection
		t.Fatal(err)
	}
	time.Sleep(time.Second) // the readers of idle lanes watch them from now on
	dead.Store(true)
	c.Nodes()[0].CloseConns()
	synctest.Wait()
	var promoted time.Time
	var callers sync.WaitGroup
	for range 3 {
		callers.Go(func() {
			err := write(t.Context(), client)
			if err != nil {
				t.Error(err)
			}
			if late := time.Since(promoted); promoted.IsZero() || late > 50*time.Millisecond {
				t.Errorf("a write succeeded %v after the takeover", late)
			}
		})
	}
	time.Sleep(2 * time.Second)
	before := c.Count("EXISTS")
	if before > 100 {
		t.Errorf("%d questions in 2 s", before)
	}
	promoted = time.Now()
	c.Promote(3)
	callers.Wait()
	time.Sleep(time.Second)
	synctest.Wait()
	if after := c.Count("EXISTS"); after > before+2 {
		t.Errorf("%d questions after the takeover", after-before)
	}
}
