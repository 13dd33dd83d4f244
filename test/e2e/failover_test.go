package e2e_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

var failovers = flag.Int("failovers", 1, "how often the tests of kills and stops repeat their failover")

// failoverLimit limits a failover. Sentinels that start too early retry after some 12 s.
const failoverLimit = 3 * patience

// trial is a service under load during a failover. It checks the promises of the client: the limits, by the counts of the
// servers; no errors for readers; no errors for writers, except for commands that were sent; no write runs twice.
type trial struct {
	t      *testing.T
	set    *redistest.SentinelSet
	client *respool.Client
	limit  int
	events *redistest.SwitchWatch
	nodes  []*redistest.ClientWatch
	guards []*redistest.ClientWatch // of the sentinels

	ctx     context.Context
	cancel  context.CancelFunc
	wg      sync.WaitGroup
	writers []*writer
	reads   spell
	writes  spell
	strange atomic.Value // the first unexpected error
	unknown atomic.Int64 // writes that were sent and got no reply
}

// spell records the successes of callers of one kind.
type spell struct {
	mu       sync.Mutex
	ops      int
	last     time.Time
	from, to time.Time // the longest time without a success
}

func (s *spell) success() {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ops++
	if !s.last.IsZero() && now.Sub(s.last) > s.to.Sub(s.from) {
		s.from, s.to = s.last, now
	}
	s.last = now
}

func (s *spell) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ops
}

// gap returns the longest time without a success since the last call.
func (s *spell) gap() (from, to time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	from, to = s.from, s.to
	s.from, s.to = time.Time{}, time.Time{}
	return from, to
}

// options are the options of a client of the set. Its connections have a name.
func serviceOptions(t *testing.T, set *redistest.SentinelSet, keys ...string) respool.Options {
	t.Helper()
	opt, err := respool.ParseURL(set.URL(append([]string{"client_name=respool", "sentinel_client_name=respool"}, keys...)...))
	if err != nil {
		t.Fatal(err)
	}
	return opt
}

func newTrial(t *testing.T, cfg redistest.SentinelConfig, change func(*respool.Options)) *trial {
	t.Helper()
	set := redistest.StartSentinels(t, cfg)
	opt := serviceOptions(t, set)
	opt.WaitTimeout = failoverLimit // for callers while there is no primary
	var client atomic.Pointer[respool.Client]
	opt.OnEvent = func(respool.Event) { // a listener may use the client
		if c := client.Load(); c != nil {
			_ = c.Stats()
		}
	}
	if change != nil {
		change(&opt)
	}
	tr := &trial{t: t, set: set, events: set.WatchSwitches(), limit: 16}
	for _, s := range set.Nodes {
		tr.nodes = append(tr.nodes, s.WatchOutsiders())
	}
	for _, s := range set.Sentinels {
		tr.guards = append(tr.guards, s.WatchOutsiders())
	}
	tr.client = openClient(t, opt)
	client.Store(tr.client)
	if err := tr.client.Warm(bounded(t)); err != nil {
		t.Fatal(err)
	}
	tr.ctx, tr.cancel = context.WithCancel(context.Background())
	t.Cleanup(tr.stop)
	return tr
}

func (tr *trial) stop() {
	tr.cancel()
	tr.wg.Wait()
}

// rest is the pause of a caller between two commands.
const rest = 5 * time.Millisecond

// each repeats an operation until the end.
func (tr *trial) each(s *spell, do func(n int) error) {
	tr.wg.Go(func() {
		for n := 0; tr.ctx.Err() == nil; n++ {
			if err := do(n); err == nil {
				s.success()
			} else if tr.ctx.Err() == nil {
				tr.strange.CompareAndSwap(nil, err)
			}
			select {
			case <-time.After(rest):
			case <-tr.ctx.Done():
			}
		}
	})
}

// writer increments its own field with each command.
type writer struct {
	key     string
	n       int
	acked   map[int]bool
	unknown map[int]bool
}

// work starts the load.
func (tr *trial) work(readers, writers int) {
	for range readers {
		tr.each(&tr.reads, func(int) error {
			return tr.client.Do(tr.ctx, "GET", "key").Err()
		})
	}
	for i := range writers {
		w := &writer{key: "writer:" + strconv.Itoa(i), acked: map[int]bool{}, unknown: map[int]bool{}}
		tr.writers = append(tr.writers, w)
		tr.each(&tr.writes, func(n int) error {
			w.n = n + 1
			_, err := tr.client.Do(tr.ctx, "HINCRBY", w.key, n, 1).Int64()
			var ce *respool.ConnError
			switch {
			case err == nil:
				w.acked[n] = true
			case errors.As(err, &ce) && ce.Sent:
				w.unknown[n] = true
				if tr.ctx.Err() == nil {
					tr.unknown.Add(1)
				}
				return nil
			}
			return err
		})
	}
	testkit.Eventually(tr.t, "every caller succeeds ten times", func() bool { return tr.writes.count() > 10*writers && tr.reads.count() > 10*readers })
}

// goesOn waits until more calls succeed on the current primary.
func (tr *trial) goesOn() {
	tr.t.Helper()
	reads, writes := tr.reads.count(), tr.writes.count()
	testkit.Eventually(tr.t, "500 more reads and writes succeed", func() bool {
		return tr.reads.count() >= reads+500 && tr.writes.count() >= writes+500 || tr.strange.Load() != nil
	})
}

// moved waits until the client uses another primary than old.
func (tr *trial) moved(old *redistest.Server) *redistest.Server {
	tr.t.Helper()
	var now *redistest.Server
	testkit.Within(tr.t, failoverLimit, "the client uses another primary", func() bool {
		st := tr.client.Stats()
		now = tr.set.NodeAt(st.Addr)
		return st.Service.Known && now != nil && now != old
	})
	return now
}

// check ends the load and checks the promises.
func (tr *trial) check() {
	t := tr.t
	t.Helper()
	tr.stop()
	if err := tr.strange.Load(); err != nil {
		t.Errorf("a caller got %T %v", err, err)
	}
	lost, twice, done := 0, 0, 0
	for _, w := range tr.writers {
		there, err := tr.client.Do(bounded(t), "HGETALL", w.key).Map()
		if err != nil {
			t.Fatalf("read what was written: %v", err)
		}
		for n := range w.n {
			v, err := there[strconv.Itoa(n)].Int64()
			switch {
			case err != nil && w.acked[n]:
				lost++
			case err == nil && v > 1:
				twice++
			case err == nil && w.unknown[n]:
				done++
			}
		}
	}
	if twice > 0 {
		t.Errorf("%d writes were done twice", twice)
	}
	t.Logf("%d reads, %d writes, %d sent without an answer (%d of them done), %d acknowledged ones lost by replication",
		tr.reads.count(), tr.writes.count(), tr.unknown.Load(), done, lost)
	tr.checkSockets()
}

// checkSockets checks the limits against the counts of the servers, closes the client, and checks that no connection is left.
func (tr *trial) checkSockets() {
	t := tr.t
	t.Helper()
	for i, w := range tr.nodes {
		if peak := w.Peak(); peak > tr.limit {
			tr.t.Log(w.AtPeak())
			t.Errorf("node %d counted %d connections at peak: want %d at most", i, peak, tr.limit)
		}
	}
	for i, w := range tr.guards {
		if peak := w.Peak(); peak > 2 {
			t.Errorf("sentinel %d counted %d connections at peak: want 2 at most", i, peak)
		}
	}
	if err := tr.client.Close(bounded(t)); err != nil {
		t.Errorf("close: %v", err)
	}
	for _, s := range append(append([]*redistest.Server(nil), tr.set.Nodes...), tr.set.Sentinels...) {
		if s.Running() {
			s.WaitOutsiders(t, 0, patience)
		}
	}
	if st := tr.client.Stats(); st.Sockets() != 0 {
		t.Errorf("after Close: %v", st)
	}
}

// after returns how long after e callers succeeded again.
func (tr *trial) after(e redistest.SentinelEvent, s *spell) time.Duration {
	_, to := s.gap()
	return to.Sub(e.At).Round(time.Millisecond)
}

func TestManualFailover(t *testing.T) {
	for name, cfg := range map[string]redistest.SentinelConfig{
		"plain":                {},
		"TLS and passwords":    {TLS: true, Password: "hushdata", SentinelPassword: "hushsentinel"},
		"hostnames":            {Hostnames: true},
		"periods as they ship": {Slow: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tr := newTrial(t, cfg, nil)
			tr.work(120, 80)
			for range *failovers {
				tr.set.WaitHealthy(t, failoverLimit)
				tr.writes.gap()
				tr.reads.gap()
				began := time.Now()
				old := tr.set.Failover()
				tr.moved(old)
				e := tr.events.Wait(t, "+switch-master", began, patience)
				tr.goesOn()
				from, to := tr.writes.gap()
				t.Logf("switched after %v; writers stood still for %v", e.At.Sub(began).Round(time.Millisecond), to.Sub(from).Round(time.Millisecond))
				if *strict && to.Sub(from) > e.At.Sub(began)+time.Second {
					t.Errorf("writers stood still for %v", to.Sub(from))
				}
				tr.set.WaitHealthy(t, failoverLimit) // the sentinels have killed the connections to the old primary
				tr.goesOn()
			}
			tr.check()
		})
	}
}

// The primary is killed under a thousand callers.
func TestKilledPrimary(t *testing.T) {
	tr := newTrial(t, redistest.SentinelConfig{DownAfter: 2 * time.Second}, nil)
	tr.work(600, 400)
	for range *failovers {
		tr.set.WaitHealthy(t, failoverLimit)
		tr.goesOn()
		tr.writes.gap()
		began := time.Now()
		old := tr.set.Primary()
		old.Kill()
		tr.moved(old)
		e := tr.events.Wait(t, "+switch-master", began, patience)
		tr.goesOn()
		late := tr.after(e, &tr.writes)
		t.Logf("switched after %v; the first write came %v later", e.At.Sub(began).Round(time.Millisecond), late)
		if limit := 500 * time.Millisecond; *strict && late > limit {
			t.Errorf("the first write came %v after the switch was published: want %v at most", late, limit)
		}
		old.Restart()
	}
	tr.set.WaitHealthy(t, failoverLimit)
	tr.goesOn()
	tr.check()
}

// All sentinels end and restart. The connections to the primary keep working, and the client follows the next failover.
func TestSentinelsRestart(t *testing.T) {
	tr := newTrial(t, redistest.SentinelConfig{}, nil)
	tr.work(120, 80)
	for _, s := range tr.set.Sentinels {
		s.Kill()
	}
	tr.goesOn()
	testkit.Await(t, "all sentinels are unreachable", func() []respool.SentinelStats { return tr.client.Stats().Service.Sentinels },
		func(all []respool.SentinelStats) bool {
			return !slices.ContainsFunc(all, func(s respool.SentinelStats) bool { return s.State != "unreachable" })
		})
	tr.goesOn()
	if st := tr.client.Stats(); !st.Service.Known || st.Service.Epoch != 1 {
		t.Errorf("without sentinels: %v", st)
	}
	for _, s := range tr.set.Sentinels {
		s.Restart()
	}
	tr.set.WaitHealthy(t, failoverLimit)
	tr.moved(tr.set.Failover())
	tr.goesOn()
	tr.set.WaitHealthy(t, failoverLimit)
	tr.check()
}

// Restarts each process in turn, the primary last.
func TestRollingRestart(t *testing.T) {
	tr := newTrial(t, redistest.SentinelConfig{}, nil)
	tr.work(120, 80)
	for _, s := range tr.set.Sentinels {
		s.Stop()
		tr.goesOn()
		s.Restart()
		tr.set.WaitHealthy(t, failoverLimit)
	}
	for _, s := range tr.set.Replicas() {
		s.Stop()
		tr.goesOn()
		s.Restart()
		tr.set.WaitHealthy(t, failoverLimit)
	}
	old := tr.set.Failover()
	tr.moved(old)
	tr.set.WaitHealthy(t, failoverLimit)
	old.Stop()
	tr.goesOn()
	old.Restart()
	tr.set.WaitHealthy(t, failoverLimit)
	tr.goesOn()
	tr.check()
}

// Two failovers in a row, the second back to the first primary, with hardly a free place.
func TestFailoverAndBack(t *testing.T) {
	tr := newTrial(t, redistest.SentinelConfig{Replicas: 1}, func(o *respool.Options) { o.MaxConnections = 2 })
	tr.limit = 2
	tr.work(120, 80)
	first := tr.set.Failover()
	second := tr.moved(first)
	tr.set.WaitHealthy(t, failoverLimit)
	if again := tr.set.Failover(); again != second {
		t.Fatal("the sentinels do not know the new primary")
	}
	if third := tr.moved(second); third != first {
		t.Fatal("there is a third node")
	}
	tr.goesOn()
	tr.set.WaitHealthy(t, failoverLimit)
	tr.goesOn()
	if epoch := tr.client.Stats().Service.Epoch; epoch < 3 {
		t.Errorf("epoch %d after two failovers", epoch)
	}
	tr.check()
}

func ExampleNewSentinel() {
	ctx := context.Background()
	sentinels, err := respool.NewSentinel(respool.SentinelOptions{Addrs: []string{"s1:26379", "s2:26379", "s3:26379"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sentinels.Close(ctx)
	primary, err := sentinels.Primary("mymaster", respool.Options{MaxConnections: 32})
	if err != nil {
		fmt.Println(err)
		return
	}
	replicas, err := sentinels.Replicas("mymaster", respool.Options{MaxReplicaLag: 2 * time.Second})
	if err != nil {
		fmt.Println(err)
		return
	}
	_ = primary.Do(ctx, "SET", "name", "value").Err()
	_, _ = replicas.Do(ctx, "GET", "name").Text()
}
