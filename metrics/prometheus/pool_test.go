package respoolprom_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
	respoolprom "github.com/seed-2b0d76a6/respool/metrics/prometheus"
)

func somePool(name string, s respool.Stats) *respoolprom.Pool {
	p := respoolprom.NewPool(name, &respool.Options{MinIdle: 2})
	p.Watch(func() respool.Stats { return s })
	return p
}

func TestPoolShowsStats(t *testing.T) {
	p := somePool("orders", respool.Stats{
		Addr: "redis-1:6379", MaxConnections: 16, Dialing: 1, Lanes: 4, Idle: 3, Dedicated: 2, Subscribed: 1, Closing: 5, Waiting: 7,
		RepliesDue: 9, Dials: 21, DialFailures: 22, Closed: 23, FailedLanes: 24, Leaks: 25, Waits: 26, FailedWaits: 27, Refused: 28,
	})
	found := gather(t, p)
	node := map[string]string{"db_client_connection_pool_name": "orders", "db_system_name": "redis", "server_address": "redis-1", "server_port": "6379"}
	for _, c := range []struct {
		name, label, value string
		want               float64
	}{
		{"db_client_connection_count", "db_client_connection_state", "idle", 3},
		{"db_client_connection_count", "db_client_connection_state", "used", 7},
		{"db_client_connection_count", "db_client_connection_state", "dialing", 1},
		{"db_client_connection_count", "db_client_connection_state", "closing", 5},
		{"db_client_connection_max", "", "", 16},
		{"db_client_connection_idle_max", "", "", 16},
		{"db_client_connection_pending_requests", "", "", 7},
		{"respool_pool_sockets", "respool_pool_kind", "lane", 4},
		{"respool_pool_sockets", "respool_pool_kind", "idle", 3},
		{"respool_pool_sockets", "respool_pool_kind", "dedicated", 2},
		{"respool_pool_sockets", "respool_pool_kind", "subscribed", 1},
		{"respool_pool_sockets", "respool_pool_kind", "dialing", 1},
		{"respool_pool_sockets", "respool_pool_kind", "closing", 5},
		{"respool_pool_replies_due", "", "", 9},
		{"respool_pool_dials_total", "", "", 21},
		{"respool_pool_dial_failures_total", "", "", 22},
		{"respool_pool_closed_total", "", "", 23},
		{"respool_pool_condemned_total", "", "", 24},
		{"respool_pool_leaks_total", "", "", 25},
		{"respool_pool_waits_total", "", "", 26},
		{"respool_pool_waits_in_vain_total", "", "", 27},
		{"respool_pool_refused_total", "", "", 28},
	} {
		labels := map[string]string{c.label: c.value}
		if c.label == "" {
			labels = map[string]string{}
		}
		for k, v := range node {
			labels[k] = v
		}
		if got := value(t, found, c.name, labels); got != c.want {
			t.Errorf("%s %s: %v: want %v", c.name, c.value, got, c.want)
		}
	}
	if got := value(t, found, "db_client_connection_idle_min", map[string]string{"db_client_connection_pool_name": "orders"}); got != 2 {
		t.Errorf("idle_min is %v: want 2", got)
	}
}

func TestNodesHaveSeriesOfTheirOwn(t *testing.T) {
	p := somePool("cache", respool.Stats{Dials: 100, Service: &respool.ServiceStats{}, Nodes: []respool.Stats{
		{Addr: "10.0.0.1:6379", Dials: 3}, {Addr: "10.0.0.1:6380", Dials: 4}, {Addr: "[::1]:6379", Dials: 5}, {Addr: "/run/redis.sock", Dials: 6},
	}})
	found := gather(t, p)
	for _, c := range []struct {
		address, port string
		want          float64
	}{{"10.0.0.1", "6379", 3}, {"10.0.0.1", "6380", 4}, {"::1", "6379", 5}, {"/run/redis.sock", "", 6}} {
		got := value(t, found, "respool_pool_dials_total", map[string]string{"server_address": c.address, "server_port": c.port})
		if got != c.want {
			t.Errorf("%s %s: %v: want %v", c.address, c.port, got, c.want)
		}
	}
	if n := len(found["respool_pool_dials_total"].GetMetric()); n != 4 {
		t.Errorf("%d series of 4 nodes", n)
	}
}

func TestPoolOfNoKnownNodeShowsItself(t *testing.T) {
	unwatched := respoolprom.NewPool("unwatched", nil)
	lost := somePool("lost", respool.Stats{Service: &respool.ServiceStats{}, Nodes: []respool.Stats{}})
	found := gather(t, unwatched, lost)
	if f := found["db_client_connection_count"]; f != nil {
		t.Errorf("%d series of nodes that nobody knows", len(f.GetMetric()))
	}
	if n := len(found["db_client_connection_timeouts_total"].GetMetric()); n != 2 {
		t.Errorf("%d pools show their timeouts: want 2", n)
	}
}

func TestRegistryTakesSeveralPoolsOfDifferentNames(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	for _, name := range []string{"orders", "cache", "not\xffUTF-8"} {
		if err := registry.Register(somePool(name, respool.Stats{Addr: "redis:6379"})); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := registry.Register(somePool("orders", respool.Stats{})); !errors.As(err, &prometheus.AlreadyRegisteredError{}) {
		t.Errorf("a second pool of the same name: %v: want an error", err)
	}
	if _, err := registry.Gather(); err != nil {
		t.Error(err)
	}
}

func TestNamesFollowPrometheus(t *testing.T) {
	p := somePool("orders", respool.Stats{Addr: "redis:6379"})
	problems, err := testutil.CollectAndLint(p)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range problems {
		if l.Metric != "db_client_connection_count" { // OpenTelemetry calls it so
			t.Errorf("%s: %s", l.Metric, l.Text)
		}
	}
}

func TestEventsAreTimes(t *testing.T) {
	told := 0
	opt := respool.Options{OnEvent: func(respool.Event) { told++ }}
	p := respoolprom.NewPool("orders", &opt)
	ended := func(err error) respool.Event {
		return respool.Event{Kind: respool.EventWaitEnded, Duration: time.Second, Err: err}
	}
	events := []respool.Event{
		{Kind: respool.EventDialed, Duration: 3 * time.Millisecond},
		{Kind: respool.EventDialFailed, Duration: time.Second, Err: errors.New("refused")},
		{Kind: respool.EventWaitBegan},
		ended(nil),
		ended(fmt.Errorf("wait: %w", respool.ErrPoolExhausted)),
		ended(fmt.Errorf("wait: %w", context.DeadlineExceeded)),
		ended(context.Canceled),
		ended(respool.ErrClosed),
		{Kind: respool.EventReleased, Class: "dedicated", Duration: 40 * time.Millisecond},
		{Kind: respool.EventReleased, Class: "subscription", Duration: time.Hour},
		{Kind: respool.EventClosed, Duration: time.Hour},
	}
	for _, e := range events {
		opt.OnEvent(e)
	}
	if told != len(events) {
		t.Errorf("the earlier hook got %d events: want %d", told, len(events))
	}
	found := gather(t, p)
	for name, sum := range map[string]float64{"create": 0.003, "wait": 1, "use": 0.04} {
		m := found["db_client_connection_"+name+"_time_seconds"].GetMetric()[0].GetHistogram()
		if m.GetSampleCount() != 1 || m.GetSampleSum() != sum {
			t.Errorf("%s: %d of %v s: want 1 of %v s", name, m.GetSampleCount(), m.GetSampleSum(), sum)
		}
		first, last := m.GetBucket()[0].GetUpperBound(), m.GetBucket()[len(m.GetBucket())-1].GetUpperBound()
		if first != 0.0001 || last != 10 {
			t.Errorf("%s: buckets from %v to %v s: want 0.0001 to 10", name, first, last)
		}
	}
	if got := value(t, found, "db_client_connection_timeouts_total", nil); got != 2 {
		t.Errorf("%v timeouts: want 2", got)
	}
}

func TestEventsAndReadingMayMeet(t *testing.T) {
	p := somePool("orders", respool.Stats{Addr: "redis:6379"})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 500 {
				p.OnEvent(respool.Event{Kind: respool.EventDialed, Duration: time.Millisecond})
			}
		})
	}
	for range 20 {
		gather(t, p)
	}
	wg.Wait()
	if got := value(t, gather(t, p), "db_client_connection_create_time_seconds", nil); got != 2000 {
		t.Errorf("%v times are counted: want 2000", got)
	}
}

func TestEventsAllocateNothing(t *testing.T) {
	p := somePool("orders", respool.Stats{})
	e := respool.Event{Kind: respool.EventReleased, Class: "dedicated", Duration: time.Millisecond}
	if n := testing.AllocsPerRun(100, func() { p.OnEvent(e) }); n != 0 {
		t.Errorf("%v allocations for each event", n)
	}
}

// The numbers of a client that works, waits in vain and is closed.
func TestPoolOfARealClient(t *testing.T) {
	server := redistest.Start(t, redistest.Config{Password: "sesame"})
	opt, err := respool.ParseURL(server.URL() + "?max_connections=2&lanes=1&timeout=0.05")
	if err != nil {
		t.Fatal(err)
	}
	p := respoolprom.NewPool("orders", &opt)
	c, err := respool.New(opt)
	if err != nil {
		t.Fatal(err)
	}
	p.Watch(c.Stats)
	ctx := t.Context()
	if err := c.Do(ctx, "SET", "k", "v").Err(); err != nil {
		t.Fatal(err)
	}
	held, err := c.Acquire(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Acquire(ctx); !errors.Is(err, respool.ErrPoolExhausted) {
		t.Fatalf("a second connection: %v: want none", err)
	}
	found := gather(t, p)
	count := func(state string) float64 {
		return value(t, found, "db_client_connection_count", map[string]string{"db_client_connection_state": state})
	}
	if count("used") != 2 || count("idle") != 0 || value(t, found, "db_client_connection_max", nil) != 2 {
		t.Errorf("%v used, %v idle: want 2 and 0", count("used"), count("idle"))
	}
	held.Release()
	if err := c.Close(ctx); err != nil {
		t.Fatal(err)
	}
	found = gather(t, p)
	for name, want := range map[string]float64{
		"db_client_connection_timeouts_total":      1,
		"db_client_connection_create_time_seconds": 2,
		"db_client_connection_use_time_seconds":    1,
		"respool_pool_dials_total":                 2,
		"respool_pool_closed_total":                2,
		"respool_pool_waits_in_vain_total":         1,
	} {
		if got := value(t, found, name, nil); got != want {
			t.Errorf("%s is %v: want %v", name, got, want)
		}
	}
	for name, f := range found {
		if strings.Contains(f.String(), "sesame") {
			t.Errorf("%s tells the password", name)
		}
	}
}
