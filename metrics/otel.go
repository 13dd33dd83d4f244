package metrics

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// Registration is what RegisterOTel made.
type Registration struct {
	callback metric.Registration
	pools    []*Pool
	times    []*meterTimes // of each pool
}

// meterTimes are the histograms of one meter, for one pool.
type meterTimes struct {
	times  [timedKinds]metric.Float64Histogram
	option []metric.RecordOption
}

func (m *meterTimes) record(what timed, d time.Duration) {
	m.times[what].Record(context.Background(), d.Seconds(), m.option...)
}

// RegisterOTel makes instruments of pools, with the same names and attributes
// as in Prometheus. They are read when the meter's reader collects; times are
// recorded as they occur. The pools should have names of their own. It
// returns the meter's error, and nothing is registered then.
func RegisterOTel(meter metric.Meter, pools ...*Pool) (*Registration, error) {
	names := map[string]bool{}
	for _, p := range pools {
		if names[p.name] {
			return nil, fmt.Errorf("metrics: two pools are called %q", p.name)
		}
		names[p.name] = true
	}
	o, err := newObserver(meter, pools)
	if err != nil {
		return nil, fmt.Errorf("metrics: make the instruments: %w", err)
	}
	histograms, err := newHistograms(meter)
	if err != nil {
		return nil, fmt.Errorf("metrics: make the instruments: %w", err)
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

// Unregister ends what RegisterOTel began: nothing more is observed or
// recorded. Calling it twice is fine.
func (r *Registration) Unregister() error {
	for i, p := range r.pools {
		p.changeMeters(func(list []*meterTimes) []*meterTimes {
			return slices.DeleteFunc(list, func(m *meterTimes) bool { return m == r.times[i] })
		})
	}
	return r.callback.Unregister()
}

// changeMeters puts a changed copy in the place of the list.
func (p *Pool) changeMeters(change func(list []*meterTimes) []*meterTimes) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var list []*meterTimes
	if old := p.meters.Load(); old != nil {
		list = slices.Clone(*old)
	}
	list = change(list)
	p.meters.Store(&list)
}

// attributes are those of everything that a pool tells.
func (p *Pool) attributes() []attribute.KeyValue {
	return []attribute.KeyValue{attribute.String(attrPool, p.name), attribute.String(attrSystem, system)}
}

// observer reads pools when a meter asks.
type observer struct {
	pools             []*Pool
	measures          []metric.Int64Observable // in the order of measures
	idleMin, timeouts metric.Int64Observable
}

func newObserver(meter metric.Meter, pools []*Pool) (o *observer, err error) {
	o = &observer{pools: slices.Clone(pools)}
	for i := range measures {
		in, err := observable(meter, &measures[i])
		if err != nil {
			return nil, err
		}
		o.measures = append(o.measures, in)
	}
	if o.idleMin, err = observable(meter, &idleMin); err != nil {
		return nil, err
	}
	o.timeouts, err = observable(meter, &timeouts)
	return o, err
}

func observable(meter metric.Meter, m *measure) (metric.Int64Observable, error) {
	if m.form == counter {
		return meter.Int64ObservableCounter(m.name, metric.WithUnit(m.unit), metric.WithDescription(m.help))
	}
	return meter.Int64ObservableUpDownCounter(m.name, metric.WithUnit(m.unit), metric.WithDescription(m.help))
}

func newHistograms(meter metric.Meter) (list [timedKinds]metric.Float64Histogram, err error) {
	for i := range times {
		m := &times[i]
		list[i], err = meter.Float64Histogram(m.name, metric.WithUnit(m.unit), metric.WithDescription(m.help),
			metric.WithExplicitBucketBoundaries(bounds()...))
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
		to.ObserveInt64(o.idleMin, int64(p.minIdle), own)
		to.ObserveInt64(o.timeouts, total(p.timeouts.Load()), own)
		nodes := p.nodes()
		for i := range nodes {
			s := &nodes[i]
			attrs := append(p.attributes(), serverAttributes(s.Addr)...)
			for j := range measures {
				m := &measures[j]
				for _, r := range m.readings {
					all := attrs
					if m.attr != "" {
						all = append(slices.Clip(attrs), attribute.String(m.attr, r.value))
					}
					to.ObserveInt64(o.measures[j], r.of(s), metric.WithAttributes(all...))
				}
			}
		}
	}
	return nil
}

// serverAttributes name a node.
func serverAttributes(addr string) []attribute.KeyValue {
	host, port := hostPort(addr)
	list := []attribute.KeyValue{attribute.String(attrServer, host)}
	if n, err := strconv.Atoi(port); err == nil {
		list = append(list, attribute.Int(attrPort, n))
	}
	return list
}
