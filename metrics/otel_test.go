package metrics_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/semconv/v1.43.0/dbconv"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/metrics"
)

// instruments registers pools with a meter of their own and gives what reads it.
func instruments(t *testing.T, pools ...*metrics.Pool) (*metrics.Registration, func() map[string]metricdata.Metrics) {
	t.Helper()
	reader := sdk.NewManualReader()
	provider := sdk.NewMeterProvider(sdk.WithReader(reader))
	t.Cleanup(func() { _ = provider.Shutdown(context.Background()) })
	registration, err := metrics.RegisterOTel(provider.Meter("test"), pools...)
	if err != nil {
		t.Fatal(err)
	}
	return registration, func() map[string]metricdata.Metrics {
		var all metricdata.ResourceMetrics
		if err := reader.Collect(context.Background(), &all); err != nil {
			t.Fatal(err)
		}
		found := map[string]metricdata.Metrics{}
		for _, scope := range all.ScopeMetrics {
			for _, m := range scope.Metrics {
				found[m.Name] = m
			}
		}
		return found
	}
}

// series gives a metric's numbers by attributes, as text; of a histogram how many it counted.
func series(m metricdata.Metrics) map[string]float64 {
	list := map[string]float64{}
	text := func(set attribute.Set) string {
		pairs := map[string]string{}
		for _, kv := range set.ToSlice() {
			pairs[string(kv.Key)] = kv.Value.String()
		}
		return labelText(pairs)
	}
	switch data := m.Data.(type) {
	case metricdata.Sum[int64]:
		for _, p := range data.DataPoints {
			list[text(p.Attributes)] = float64(p.Value)
		}
	case metricdata.Histogram[float64]:
		for _, p := range data.DataPoints {
			list[text(p.Attributes)] = float64(p.Count)
		}
	}
	return list
}

func labelText(labels map[string]string) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		if labels[k] != "" {
			parts = append(parts, strings.ReplaceAll(k, ".", "_")+"="+labels[k])
		}
	}
	return strings.Join(parts, ",")
}

// promName is how OpenTelemetry's exporters spell a name for Prometheus.
func promName(m metricdata.Metrics) string {
	name := strings.ReplaceAll(m.Name, ".", "_")
	if m.Unit == "s" {
		name += "_seconds"
	}
	if sum, ok := m.Data.(metricdata.Sum[int64]); ok && sum.IsMonotonic {
		name += "_total"
	}
	return name
}

func busyPools(t *testing.T) []*metrics.Pool {
	t.Helper()
	return []*metrics.Pool{
		somePool("orders", respool.Stats{Addr: "redis:6379", MaxConnections: 16, Lanes: 4, Dedicated: 2, Idle: 1, Waiting: 3, Dials: 9, WaitsInVain: 5}),
		somePool("cache", respool.Stats{Service: &respool.ServiceStats{}, Nodes: []respool.Stats{
			{Addr: "10.0.0.1:6379", MaxConnections: 8, Lanes: 1}, {Addr: "/run/redis.sock", MaxConnections: 8, Subscribed: 2},
		}}),
	}
}

func TestOTelTellsWhatPrometheusTells(t *testing.T) {
	pools := busyPools(t)
	_, read := instruments(t, pools...)
	for i, p := range pools {
		for range i + 1 {
			p.OnEvent(respool.Event{Kind: respool.EventDialed, Duration: time.Millisecond})
			p.OnEvent(respool.Event{Kind: respool.EventReleased, Class: "dedicated", Duration: time.Millisecond})
			p.OnEvent(respool.Event{Kind: respool.EventWaitEnded, Duration: time.Millisecond})
			p.OnEvent(respool.Event{Kind: respool.EventWaitEnded, Err: respool.ErrPoolExhausted})
		}
	}
	instrumented, families := read(), gather(t, pools[0], pools[1])
	for _, m := range instrumented {
		name := promName(m)
		f := families[name]
		if f == nil {
			t.Errorf("Prometheus does not tell %s", name)
			continue
		}
		delete(families, name)
		want := map[string]float64{}
		for _, one := range f.GetMetric() {
			want[labelText(labelsOf(one))] = number(one)
		}
		if got := series(m); !maps.Equal(got, want) {
			t.Errorf("%s:\n%v: want\n%v", m.Name, got, want)
		}
	}
	for name := range families {
		t.Errorf("OpenTelemetry does not tell %s", name)
	}
}

func TestNamesAndUnitsAreOpenTelemetrys(t *testing.T) {
	pools := busyPools(t)
	_, read := instruments(t, pools...)
	pools[0].OnEvent(respool.Event{Kind: respool.EventDialed})
	pools[0].OnEvent(respool.Event{Kind: respool.EventReleased, Class: "dedicated"})
	pools[0].OnEvent(respool.Event{Kind: respool.EventWaitEnded})
	found := read()
	type convention interface {
		Name() string
		Unit() string
		Description() string
	}
	conventions := []convention{
		dbconv.ClientConnectionCountObservable{}, dbconv.ClientConnectionCreateTime{},
		dbconv.ClientConnectionIdleMaxObservable{}, dbconv.ClientConnectionIdleMinObservable{},
		dbconv.ClientConnectionMaxObservable{}, dbconv.ClientConnectionPendingRequestsObservable{},
		dbconv.ClientConnectionTimeoutsObservable{}, dbconv.ClientConnectionUseTime{}, dbconv.ClientConnectionWaitTime{},
	}
	for _, c := range conventions {
		m, ok := found[c.Name()]
		if !ok {
			t.Errorf("%s is not told", c.Name())
			continue
		}
		if m.Unit != c.Unit() || m.Description != c.Description() {
			t.Errorf("%s: %s, %q: want %s, %q", m.Name, m.Unit, m.Description, c.Unit(), c.Description())
		}
		delete(found, c.Name())
	}
	for name := range found {
		if !strings.HasPrefix(name, "respool.pool.") {
			t.Errorf("%s is no name of the conventions", name)
		}
	}
	count := dbconv.ClientConnectionCountObservable{}
	want := labelText(map[string]string{
		string(count.AttrClientConnectionPoolName("").Key): "orders", "db.system.name": string(dbconv.SystemNameRedis),
		string(count.AttrClientConnectionState("").Key): string(dbconv.ClientConnectionStateUsed),
		"server.address": "redis", "server.port": "6379",
	})
	if _, ok := series(read()[count.Name()])[want]; !ok {
		t.Errorf("no series with %s", want)
	}
}

func TestUnregisterEndsIt(t *testing.T) {
	pools := busyPools(t)
	first, readFirst := instruments(t, pools...)
	_, readSecond := instruments(t, pools[0])
	for range 2 {
		if err := first.Unregister(); err != nil {
			t.Fatal(err)
		}
	}
	pools[0].OnEvent(respool.Event{Kind: respool.EventDialed})
	if found := readFirst(); len(found) != 0 {
		t.Errorf("%d metrics after the end", len(found))
	}
	if got := series(readSecond()["db.client.connection.create_time"]); len(got) != 1 {
		t.Errorf("the other registration has %v: want one series", got)
	}
}

func TestPoolsOfOneNameAreRefused(t *testing.T) {
	meter := noop.NewMeterProvider().Meter("test")
	_, err := metrics.RegisterOTel(meter, metrics.NewPool("a", nil), metrics.NewPool("a", nil))
	if err == nil || !strings.Contains(err.Error(), `two pools are called "a"`) {
		t.Errorf("%v: want an error", err)
	}
}

// brokenMeter fails to make one kind of instrument.
type brokenMeter struct{ noop.Meter }

var errBroken = errors.New("broken")

func (brokenMeter) RegisterCallback(metric.Callback, ...metric.Observable) (metric.Registration, error) {
	return nil, fmt.Errorf("callback: %w", errBroken)
}

func TestErrorsOfTheMeterAreTold(t *testing.T) {
	p := metrics.NewPool("a", nil)
	if _, err := metrics.RegisterOTel(brokenMeter{}, p); !errors.Is(err, errBroken) {
		t.Errorf("%v: want the meter's error", err)
	}
	p.OnEvent(respool.Event{Kind: respool.EventDialed})
}
