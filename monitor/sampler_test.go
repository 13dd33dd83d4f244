package monitor_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
	"github.com/seed-2b0d76a6/respool/monitor"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sampler is one that runs, and what it told.
type sampler struct {
	*monitor.Sampler
	stop   func()
	states chan *monitor.State
}

func startSampler(t *testing.T, url string, change func(*monitor.SamplerConfig)) *sampler {
	t.Helper()
	opt, err := respool.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	s := &sampler{states: make(chan *monitor.State, 1)}
	cfg := monitor.SamplerConfig{Options: opt, Every: 20 * time.Millisecond, ListEvery: 50 * time.Millisecond, OnState: func(st *monitor.State) {
		select {
		case <-s.states:
		default:
		}
		s.states <- st
	}}
	if change != nil {
		change(&cfg)
	}
	if s.Sampler, err = monitor.NewSampler(cfg); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	s.stop = func() { cancel(); <-done }
	t.Cleanup(s.stop)
	return s
}

// until waits for a state of which ok is true.
func (s *sampler) until(t *testing.T, what string, ok func(st *monitor.State) bool) *monitor.State {
	t.Helper()
	limit := time.NewTimer(30 * time.Second)
	defer limit.Stop()
	for {
		select {
		case st := <-s.states:
			if ok(st) {
				return st
			}
		case <-limit.C:
			t.Fatalf("never %s; the last state is %+v", what, s.State())
		}
	}
}

// up reports whether the first node answers.
func up(st *monitor.State) bool {
	return len(st.Nodes) > 0 && st.Nodes[0].Up && st.Nodes[0].List != nil
}

func TestSamplerShowsAServer(t *testing.T) {
	s := redistest.Start(t, redistest.Config{MaxClients: 100})
	sm := startSampler(t, s.URL(), nil)
	st := sm.until(t, "rates", func(st *monitor.State) bool { return up(st) && st.Nodes[0].Rates.Known && st.Nodes[0].Before != nil })
	n := st.Nodes[0]
	if n.Addr != s.Addr() || n.Role != "primary" || n.Err != nil || n.Last.MaxClients != 100 || n.Last.Connections != 1 || len(n.Points) == 0 || len(n.Refused) != 0 {
		t.Errorf("%+v", n)
	}
	if got := n.List.Clients.Total().Clients; got != 1 { // the test's own; the sampler's is left out
		t.Errorf("%d clients", got)
	}
	sm.stop()
	if list := s.Do("CLIENT", "LIST"); strings.Contains(list, sm.Own()) {
		t.Errorf("the sampler's connection is still there:\n%s", list)
	}
}

func TestSamplerHoldsOneConnection(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	sm := startSampler(t, s.URL(), nil)
	sm.until(t, "up", up)
	before := monitor.ParseInfo(s.Do("INFO"))
	for range 50 {
		sm.until(t, "up", up)
	}
	after := monitor.ParseInfo(s.Do("INFO"))
	a, _ := before.Int("total_connections_received")
	b, _ := after.Int("total_connections_received")
	if n, _ := after.Connections(); n != 2 || a != b {
		t.Errorf("%d connections; %d opened meanwhile", n, b-a)
	}
}

func TestSamplerSeesRestartsAndLoss(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	sm := startSampler(t, s.URL(), nil)
	sm.until(t, "up", up)
	s.Kill()
	st := sm.until(t, "down", func(st *monitor.State) bool { return !st.Nodes[0].Up })
	if n := st.Nodes[0]; n.Err == nil || n.Full || n.Last == nil || time.Since(n.Since) > 10*time.Second {
		t.Errorf("%+v", n)
	}
	s.Restart()
	st = sm.until(t, "up again", func(st *monitor.State) bool { return up(st) && st.Nodes[0].Restarts == 1 })
	if n := st.Nodes[0]; n.Err != nil || n.Forecast.Exists || len(n.Points) > 2 {
		t.Errorf("%+v", n)
	}
}

func TestCountersThatAreSetBackAreNoRestart(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	sm := startSampler(t, s.URL(), nil)
	known := func(st *monitor.State) bool { return up(st) && st.Nodes[0].Rates.Known }
	sm.until(t, "up", known)
	s.Do("CONFIG", "RESETSTAT")
	sm.until(t, "no rates", func(st *monitor.State) bool { return !st.Nodes[0].Rates.Known })
	st := sm.until(t, "rates again", known)
	if n := st.Nodes[0]; n.Restarts != 0 || n.Before == nil {
		t.Errorf("%+v", n)
	}
}

func TestSamplerKeepsItsPlaceInAFullServer(t *testing.T) {
	s := redistest.Start(t, redistest.Config{MaxClients: 10})
	sm := startSampler(t, s.URL(), nil)
	sm.until(t, "up", up)
	hold(t, s, 20)
	st := sm.until(t, "full", func(st *monitor.State) bool {
		n := st.Nodes[0]
		return n.Up && n.Last.Connections == 9 && n.Rates.Rejected > 0
	})
	if share, ok := st.Nodes[0].Last.Occupancy(); !ok || share != 0.9 {
		t.Errorf("%v", share)
	}
	// Who comes later does not get in, and says so.
	late := startSampler(t, s.URL(), nil)
	st = late.until(t, "refused", func(st *monitor.State) bool { return len(st.Nodes) > 0 && st.Nodes[0].Full })
	if n := st.Nodes[0]; n.Up || n.Err == nil || n.Last != nil {
		t.Errorf("%+v", n)
	}
}

// hold opens connections that stay until the test ends, as far as they are let in.
func hold(t *testing.T, s *redistest.Server, n int) {
	t.Helper()
	opt, err := respool.ParseURL(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	opt.MaxConnections = 1
	for range n {
		c, err := respool.New(opt)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		_ = c.Warm(ctx) // or is turned away
		cancel()
		t.Cleanup(func() { _ = c.Close(context.Background()) })
	}
}

func TestSamplerGoesOnWhileALookHangs(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	sm := startSampler(t, s.URL(), nil)
	sm.until(t, "up", up)
	s.Pause()
	st := sm.until(t, "down", func(st *monitor.State) bool { return !st.Nodes[0].Up })
	since := st.Nodes[0].Since
	for range 3 { // told again and again meanwhile
		next := sm.until(t, "told again", func(now *monitor.State) bool { return now.At.Sub(st.At) >= time.Second })
		if next.Nodes[0].Up || !next.Nodes[0].Since.Equal(since) {
			t.Errorf("%+v", next.Nodes[0])
		}
		st = next
	}
	s.Resume()
	sm.until(t, "up again", up)
}

func TestSamplerWithFewRights(t *testing.T) {
	s := redistest.Start(t, redistest.Config{MaxClients: 77})
	s.Do("ACL", "SETUSER", "least", "on", ">pw", "resetchannels", "-@all", "+ping", "+hello", "+info", "+client|list", "+client|setname")
	s.Do("ACL", "SETUSER", "less", "on", ">pw", "resetchannels", "-@all", "+ping", "+hello", "+info")
	s.Do("ACL", "SETUSER", "nothing", "on", ">pw", "resetchannels", "-@all", "+ping", "+hello")
	at := strings.Replace(s.URL(), "redis://", "redis://%s:pw@", 1)

	sm := startSampler(t, fmt.Sprintf(at, "least"), nil)
	st := sm.until(t, "up", up)
	if n := st.Nodes[0]; len(n.Refused) != 1 || n.Refused["CONFIG GET"] == "" || n.Last.MaxClients != 77 {
		t.Errorf("%+v", n)
	}
	sm = startSampler(t, fmt.Sprintf(at, "less"), nil)
	st = sm.until(t, "up", func(st *monitor.State) bool {
		return len(st.Nodes) > 0 && st.Nodes[0].Up && len(st.Nodes[0].Points) > 0
	})
	if n := st.Nodes[0]; n.List != nil || n.Refused["CLIENT LIST"] == "" || n.Last.Connections != 2 {
		t.Errorf("%+v, %+v", n, n.Last)
	}
	sm = startSampler(t, fmt.Sprintf(at, "nothing"), nil)
	st = sm.until(t, "up", func(st *monitor.State) bool { return len(st.Nodes) > 0 && st.Nodes[0].Last != nil })
	if n := st.Nodes[0]; !n.Up || n.Refused["INFO"] == "" || n.Last.MaxClients != 0 || n.Forecast.Exists {
		t.Errorf("%+v", n)
	}
	if text := fmt.Sprintf("%+v", st); strings.Contains(text, "pw") {
		t.Errorf("a password is shown: %s", text)
	}
}

func TestSamplerLeavesLargeListsOut(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	sm := startSampler(t, s.URL(), func(c *monitor.SamplerConfig) { c.ListLimit = 4 })
	sm.until(t, "up", up)
	hold(t, s, 5)
	st := sm.until(t, "too many", func(st *monitor.State) bool { return st.Nodes[0].Refused["CLIENT LIST"] != "" })
	if text := st.Nodes[0].Refused["CLIENT LIST"]; !strings.Contains(text, "above 4") || st.Nodes[0].List != nil {
		t.Error(text, st.Nodes[0].List)
	}
}

func TestSamplerFollowsAService(t *testing.T) {
	set := redistest.StartSentinels(t, redistest.SentinelConfig{Replicas: 1})
	sm := startSampler(t, set.URL(), nil)
	both := func(st *monitor.State) bool {
		return len(st.Nodes) == 2 && st.Nodes[0].Up && st.Nodes[1].Up && st.Nodes[0].Role == "primary" && st.Nodes[1].Role == "replica"
	}
	st := sm.until(t, "both", both)
	first := st.Nodes[0].Addr
	set.Failover()
	st = sm.until(t, "switched", func(st *monitor.State) bool { return both(st) && st.Nodes[0].Addr != first })
	if st.Err != nil || st.Nodes[1].Addr != first {
		t.Errorf("%+v", st)
	}
}

func TestSamplerMistakes(t *testing.T) {
	for want, cfg := range map[string]monitor.SamplerConfig{
		"want 10ms or more": {Every: time.Millisecond},
		"want Every (5s)":   {ListEvery: time.Second},
		"maxclients is -1":  {MaxClients: -1},
		"Protocol":          {Options: respool.Options{Protocol: 9}},
	} {
		if _, err := monitor.NewSampler(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v: want %q", err, want)
		}
	}
}
