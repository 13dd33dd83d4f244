// Package respoolotel exports pools to OpenTelemetry.
//
// A Pool contains the numbers of one client: those of respool.Client.Stats, and the durations of
// its events. Register creates instruments for pools, with the names of OpenTelemetry's semantic
// conventions for database clients, and additional ones under respool.pool. docs/metrics.md lists
// all names.
//
// The package exports nothing itself: the program owns the meter and its reader. It starts no
// goroutines.
package respoolotel

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/seed-2b0d76a6/respool/internal/poolmetrics"
)

// Registration contains the instruments that Register created.
type Registration struct {
	callback metric.Registration
	pools    []*Pool
	times    []*meterTimes // one for each pool
}

// Register creates instruments for pools, with the same names and attributes as in Prometheus. The
// reader of the meter reads them when it collects; durations are recorded as they occur. Pools must
// have different names. If the meter returns an error, Register returns it and registers nothing.
// The caller owns the Registration.
func Register(meter metric.Meter, pools ...*Pool) (*Registration, error) {
	names := map[string]bool{}
	for _, p := range pools {
		if names[p.core.Name()] {
			return nil, fmt.Errorf("metrics: two pools have the name %q", p.core.Name())
		}
		names[p.core.Name()] = true
	}
	o, err := newObserver(meter, pools)
	if err != nil {
		return nil, fmt.Errorf("metrics: create the instruments: %w", err)
	}
	histograms, err := newHistograms(meter)
	if err != nil {
		return nil, fmt.Errorf("metrics: create the instruments: %w", err)
	}
	callback, err := meter.RegisterCallback(o.observe, o.instruments...)
	if err != nil {
		return nil, fmt.Errorf("metrics: register the callback: %w", err)
	}
	r := &Registration{callback: callback, pools: slices.Clone(pools)}
	for _, p := range r.pools {
		m := &meterTimes{histograms, []metric.RecordOption{metric.WithAttributeSet(attribute.NewSet(p.attributes()...))}}
		r.times = append(r.times, m)
		p.changeMeters(func(list []*meterTimes) []*meterTimes { return append(list, m) })
	}
	return r, nil
}

// Unregister removes the instruments: nothing more is observed or recorded. Another call does
// nothing.
func (r *Registration) Unregister() error {
	for i, p := range r.pools {
		p.changeMeters(func(list []*meterTimes) []*meterTimes {
			return slices.DeleteFunc(list, func(m *meterTimes) bool { return m == r.times[i] })
		})
	}
	return r.callback.Unregister()
}

// observer reads pools for a meter.
type observer struct {
	pools                     []*Pool
	nodes, blocking, commands []observe // in the order of the functions of poolmetrics
	idleMin, timeouts         observe
	instruments               []metric.Observable // all of the above
}

// observe reports a number of one instrument.
type observe func(to metric.Observer, value int64, attrs metric.MeasurementOption)

func newObserver(meter metric.Meter, pools []*Pool) (o *observer, err error) {
	o = &observer{pools: slices.Clone(pools)}
	o.nodes = addAll(o, &err, meter, poolmetrics.Nodes())
	o.blocking = addAll(o, &err, meter, poolmetrics.Blocking())
	o.commands = addAll(o, &err, meter, poolmetrics.Commands())
	o.idleMin = o.add(&err, meter, poolmetrics.IdleMin())
	o.timeouts = o.add(&err, meter, poolmetrics.Timeouts())
	return o, err
}

// addAll creates the instruments of measures. It sets err at the first failure.
func addAll[T any](o *observer, err *error, meter metric.Meter, list []poolmetrics.Source[T]) (observers []observe) {
	for i := range list {
		observers = append(observers, o.add(err, meter, list[i].Measure))
	}
	return observers
}

// add creates an instrument, unless err is set. It sets err if it fails.
func (o *observer) add(err *error, meter metric.Meter, m poolmetrics.Measure) observe {
	if *err != nil {
		return nil
	}
	unit, help := metric.WithUnit(m.Unit), metric.WithDescription(m.Help)
	if m.Form == poolmetrics.Highest {
		var in metric.Float64ObservableGauge
		in, *err = meter.Float64ObservableGauge(m.Name, unit, help)
		o.instruments = append(o.instruments, in)
		return func(to metric.Observer, value int64, attrs metric.MeasurementOption) {
			to.ObserveFloat64(in, time.Duration(value).Seconds(), attrs)
		}
	}
	var in metric.Int64Observable
	if m.Form == poolmetrics.Counter {
		in, *err = meter.Int64ObservableCounter(m.Name, unit, help)
	} else {
		in, *err = meter.Int64ObservableUpDownCounter(m.Name, unit, help)
	}
	o.instruments = append(o.instruments, in)
	return func(to metric.Observer, value int64, attrs metric.MeasurementOption) {
		to.ObserveInt64(in, value, attrs)
	}
}

func newHistograms(meter metric.Meter) (list [poolmetrics.TimeKinds]metric.Float64Histogram, err error) {
	for i, m := range poolmetrics.Times() {
		list[i], err = meter.Float64Histogram(m.Name, metric.WithUnit(m.Unit), metric.WithDescription(m.Help),
			metric.WithExplicitBucketBoundaries(poolmetrics.Bounds()...))
		if err != nil {
			return list, err
		}
	}
	return list, nil
}

func (o *observer) observe(_ context.Context, to metric.Observer) error {
	for _, p := range o.pools {
		own := p.attributes()
		o.idleMin(to, int64(p.core.MinIdle()), metric.WithAttributes(own...))
		o.timeouts(to, int64(p.core.Timeouts()), metric.WithAttributes(own...))
		nodes, blocking := p.core.Read()
		for i := range nodes {
			observeAll(to, o.nodes, poolmetrics.Nodes(), &nodes[i], append(slices.Clip(own), serverAttributes(nodes[i].Addr)...))
		}
		if blocking == nil {
			continue
		}
		observeAll(to, o.blocking, poolmetrics.Blocking(), blocking, own)
		for name, counts := range blocking.Commands {
			attrs := append(slices.Clip(own), attribute.String(poolmetrics.AttrCommand, name))
			observeAll(to, o.commands, poolmetrics.Commands(), &counts, attrs)
		}
	}
	return nil
}

// observeAll reads measures from s.
func observeAll[T any](to metric.Observer, observers []observe, list []poolmetrics.Source[T], s *T, attrs []attribute.KeyValue) {
	for i := range list {
		m := &list[i]
		for _, r := range m.Readings {
			all := attrs
			if m.Attr != "" {
				all = append(slices.Clip(attrs), attribute.String(m.Attr, r.Value))
			}
			observers[i](to, r.Of(s), metric.WithAttributes(all...))
		}
	}
}

// serverAttributes returns the attributes of a node.
func serverAttributes(addr string) []attribute.KeyValue {
	host, port := poolmetrics.HostPort(addr)
	list := []attribute.KeyValue{attribute.String(poolmetrics.AttrServer, host)}
	if n, err := strconv.Atoi(port); err == nil {
		list = append(list, attribute.Int(poolmetrics.AttrPort, n))
	}
	return list
}
