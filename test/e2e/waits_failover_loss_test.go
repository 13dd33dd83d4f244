package e2e_test

import (
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// Failovers lose no element, except those of attempts in flight, whose callers get the error Sent. The operator stops
// writes until the replicas have received all of them, since Sentinel itself does not wait for that. A primary that is
// slow on a busy machine is not down: a failover without an operator may lose writes.
func TestFailoversLoseNothing(t *testing.T) {
	set := redistest.StartSentinels(t, redistest.SentinelConfig{DownAfter: time.Minute})
	open := func() *respool.Client {
		opt := serviceOptions(t, set)
		opt.MaxConnections, opt.WaitTimeout = 5, failoverLimit
		return openClient(t, opt)
	}
	c, producer := open(), open()
	mustDo(t, c, "XGROUP", "CREATE", "st", "g", "$", "MKSTREAM")
	l := newLedger(set.Nodes[0].Version())
	var done atomic.Int64
	stop := make(chan struct{})
	var side sync.WaitGroup
	side.Go(func() {
		for n := 1; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			handOver(t, set)
			done.Store(int64(n))
		}
	})
	pushed := l.has(*elementCount)
	enough := func() bool { return pushed() && int(done.Load()) >= *failovers || t.Failed() }
	do := func(args ...string) error {
		all := make([]any, len(args))
		for i, a := range args {
			all[i] = a
		}
		return producer.Do(bounded(t), all...).Err()
	}
	l.deliver(seed(t), enough, do, l.callers(func() *respool.Client { return c }))
	close(stop)
	side.Wait()
	lost, dropped := lostSoFar(c)
	l.check(t, open(), lost+2*dropped, nil)
	t.Logf("%d failovers, %+v", done.Load(), c.Stats().Blocking)
}

// handOver makes another node the primary, without the loss of a write.
func handOver(t *testing.T, set *redistest.SentinelSet) {
	old := set.Primary()
	old.Do("CONFIG", "SET", "min-replicas-to-write", "100")
	offset := func(s *redistest.Server, field string) func() int {
		return func() int { n, _ := strconv.Atoi(s.Info("replication")[field]); return n }
	}
	last := offset(old, "master_repl_offset")()
	for _, s := range set.Replicas() {
		testkit.AwaitWithin(t, failoverLimit, "the position of a replica", offset(s, "slave_repl_offset"), testkit.AtLeast(last))
	}
	set.Failover()
	set.WaitPrimary(t, old, failoverLimit)
	set.WaitHealthy(t, failoverLimit)
	old.Do("CONFIG", "SET", "min-replicas-to-write", "0")
}
