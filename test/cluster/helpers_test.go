package cluster

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/clustertest"
)

// open returns a client of a cluster, and closes it at the end of the test.
func open(t testing.TB, c *clustertest.Cluster, keys ...string) *respool.Client {
	t.Helper()
	return openURL(t, c.URL(keys...))
}

func openURL(t testing.TB, url string) *respool.Client {
	t.Helper()
	client, err := respool.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), testkit.Patience)
		defer cancel()
		if err := client.Close(ctx); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return client
}

// key returns key number i. Keys of different numbers lie in different slots, mostly.
func key(i int) string { return fmt.Sprintf("key:%d", i) }

// keyAt returns a key of a node, the first from number i on.
func keyAt(c *clustertest.Cluster, n *clustertest.Node, i int) string {
	for ; ; i++ {
		if c.OwnerOf(key(i)) == n {
			return key(i)
		}
	}
}

// load is callers that send commands until end. It reports the first errors to the test.
type load struct {
	t        testing.TB
	stop     atomic.Bool
	running  sync.WaitGroup
	done     atomic.Int64 // commands, pipelines and transactions
	failures atomic.Int64
}

// callers starts n callers. each is called again and again with the number of the caller and of the call, from 1 on. An
// error ends its caller.
func callers(t testing.TB, n int, each func(caller int, call int64) error) *load {
	l := &load{t: t}
	for i := range n {
		l.running.Go(func() {
			for call := int64(1); !l.stop.Load(); call++ {
				if err := each(i, call); err != nil {
					if l.failures.Add(1) <= 5 {
						t.Errorf("caller %d, call %d: %v", i, call, err)
					}
					return
				}
				l.done.Add(1)
			}
		})
	}
	return l
}

// progress waits until n further calls have ended.
func (l *load) progress(n int64) {
	l.t.Helper()
	want := l.done.Load() + n
	testkit.Eventually(l.t, "the callers make progress", func() bool { return l.done.Load() >= want || l.failures.Load() > 0 })
}

// end stops the callers and waits for them.
func (l *load) end() {
	l.stop.Store(true)
	l.running.Wait()
}

// incremented returns an error unless the reply is the number want.
func incremented(r respool.Reply, want int64) error {
	got, err := r.Int64()
	if err == nil && got != want {
		err = fmt.Errorf("INCR returned %d: want %d", got, want)
	}
	return err
}

// patient limits one call of a test.
func patient(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// slotOf returns the slot of a key.
func slotOf(k string) int { return testkit.KeySlot(k) }

// waitFor lets a state last for some seconds.
func waitFor(seconds int) { <-time.After(time.Duration(seconds) * time.Second) }
