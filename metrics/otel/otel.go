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
	callback, err := meter.RegisterCallback(o.observe, o.all()...)
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
	pools             []*Pool
	measures          []metric.Int64Observable // in the order of poolmetrics.Measures
	idleMin, timeouts metric.Int64Observable
}

func newObserver(meter metric.Meter, pools []*Pool) (o *observer, err error) {
	o = &observer{pools: slices.Clone(pools)}
	for _, m := range poolmetrics.Measures() {
		in, err := observable(meter, m)
		if err != nil {
			return nil, err
		}
		o.measures = append(o.measures, in)
	}
	if o.idleMin, err = observable(meter, poolmetrics.IdleMin()); err != nil {
		return nil, err
	}
	o.timeouts, err = observable(meter, poolmetrics.Timeouts())
	return o, err
}

func observable(meter metric.Meter, m poolmetrics.Measure) (metric.Int64Observable, error) {
	if m.Form == poolmetrics.Counter {
		return meter.Int64ObservableCounter(m.Name, metric.WithUnit(m.Unit), metric.WithDescription(m.Help))
	}
	return meter.Int64ObservableUpDownCounter(m.Name, metric.WithUnit(m.Unit), metric.WithDescription(m.Help))
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

func (o *observer) all() []metric.Observable {
	list := []metric.Observable{o.idleMin, o.timeouts}
	for _, in := range o.measures {
		list = append(list, in)
	}
	return list
}

func (o *observer) observe(_ context.Context, to metric.Observer) error {
	for _, p := range o.pools {
		own := metric.WithAttributes(p.attributes()...)
		to.ObserveInt64(o.idleMin, int64(p.core.MinIdle()), own)
		to.ObserveInt64(o.timeouts, int64(p.core.Timeouts()), own)
		measures, nodes := poolmetrics.Measures(), p.core.Nodes()
		for i := range nodes {
			s := &nodes[i]
			attrs := append(p.attributes(), serverAttributes(s.Addr)...)
			for j := range measures {
				m := &measures[j]
				for _, r := range m.Readings {
					all := attrs
					if m.Attr != "" {
						all = append(slices.Clip(attrs), attribute.String(m.Attr, r.Value))
					}
					to.ObserveInt64(o.measures[j], r.Of(s), metric.WithAttributes(all...))
				}
			}
		}
	}
	return nil
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
