package respoolotel_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/semconv/v1.43.0/dbconv"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/poolmetrics/pooltest"
	respoolotel "github.com/seed-2b0d76a6/respool/metrics/otel"
)

// instruments registers pools with a new meter. The function reads it.
func instruments(t *testing.T, pools ...*respoolotel.Pool) (*respoolotel.Registration, func() map[string]metricdata.Metrics) {
	t.Helper()
	reader := sdk.NewManualReader()
	provider := sdk.NewMeterProvider(sdk.WithReader(reader))
	t.Cleanup(func() { _ = provider.Shutdown(context.Background()) })
	registration, err := respoolotel.Register(provider.Meter("test"), pools...)
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

// series returns the numbers of a metric by attributes, as text. The number of a histogram is its
// count.
func series(m metricdata.Metrics) map[string]float64 {
	list := map[string]float64{}
	text := func(set attribute.Set) string {
		pairs := map[string]string{}
		for _, kv := range set.ToSlice() {
			pairs[string(kv.Key)] = kv.Value.String()
		}
		return pooltest.LabelText(pairs)
	}
	switch data := m.Data.(type) {
	case metricdata.Sum[int64]:
		for _, p := range data.DataPoints {
			list[text(p.Attributes)] = float64(p.Value)
		}
	case metricdata.Gauge[float64]:
		for _, p := range data.DataPoints {
			list[text(p.Attributes)] = p.Value
		}
	case metricdata.Histogram[float64]:
		for _, p := range data.DataPoints {
			list[text(p.Attributes)] = float64(p.Count)
		}
	}
	return list
}

// promName is the Prometheus name that OpenTelemetry's exporters use.
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

// busyPools are pools with the numbers of pooltest.
func busyPools(t *testing.T) (list []*respoolotel.Pool) {
	t.Helper()
	for _, one := range pooltest.Pools() {
		p := respoolotel.NewPool(one.Name, &respool.Options{MinIdle: one.MinIdle})
		p.Watch(func() respool.Stats { return one.Stats })
		list = append(list, p)
	}
	return list
}

// The exporter for Prometheus is tested against the same series.
func TestOTelTellsWhatPrometheusTells(t *testing.T) {
	pools := busyPools(t)
	_, read := instruments(t, pools...)
	for i, p := range pools {
		pooltest.Events(i, p.OnEvent)
	}
	var got []string
	for _, m := range read() {
		for labels, n := range series(m) {
			got = append(got, pooltest.Line(promName(m), labels, n))
		}
	}
	pooltest.Check(t, got)
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
	want := pooltest.LabelText(map[string]string{
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
	_, err := respoolotel.Register(meter, respoolotel.NewPool("a", nil), respoolotel.NewPool("a", nil))
	if err == nil || !strings.Contains(err.Error(), `two pools have the name "a"`) {
		t.Errorf("%v: want an error", err)
	}
}

// brokenMeter fails to register callbacks.
type brokenMeter struct{ noop.Meter }

var errBroken = errors.New("broken")

func (brokenMeter) RegisterCallback(metric.Callback, ...metric.Observable) (metric.Registration, error) {
	return nil, fmt.Errorf("callback: %w", errBroken)
}

func TestErrorsOfTheMeterAreTold(t *testing.T) {
	p := respoolotel.NewPool("a", nil)
	if _, err := respoolotel.Register(brokenMeter{}, p); !errors.Is(err, errBroken) {
		t.Errorf("%v: want the meter's error", err)
	}
	p.OnEvent(respool.Event{Kind: respool.EventDialed})
}
