package respoolprom

import (
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/poolmetrics"
)

// Pool is a collector of one client. Make it with NewPool before the client, and
// give it the client's Stats with Watch. It is safe for concurrent use.
type Pool struct {
	core  *poolmetrics.Pool
	times poolTimes
	descs poolDescs
}

// poolTimes are the histograms of the durations.
type poolTimes [poolmetrics.TimeKinds]prometheus.Histogram

// Record implements poolmetrics.Recorder.
func (t *poolTimes) Record(what poolmetrics.Time, d time.Duration) { t[what].Observe(d.Seconds()) }

// poolDescs are the descriptions of the other metrics.
type poolDescs struct {
	measures          []*prometheus.Desc // in the order of poolmetrics.Measures
	idleMin, timeouts *prometheus.Desc
}

// NewPool returns a collector of a client that is made of opt afterwards. It puts
// itself before opt.OnEvent, which is called as before. The name tells the
// pools of a program apart, such as "orders" or "cache-replicas": a registry
// refuses two of the same name.
//
// opt belongs to that one client from then on: a client that is made of the same
// options later would be counted here too. opt may be nil: the program passes
// the client's events to OnEvent then.
func NewPool(name string, opt *respool.Options) *Pool {
	p := &Pool{}
	p.core = poolmetrics.New(name, opt, &p.times)
	p.describe()
	return p
}

// Watch sets the source of the numbers, which is called whenever metrics are
// read. Until then the pool shows only its durations.
func (p *Pool) Watch(stats func() respool.Stats) { p.core.Watch(stats) }

// OnEvent takes an event of the client, as Options.OnEvent does. It does not
// block.
func (p *Pool) OnEvent(e respool.Event) { p.core.OnEvent(e) }

// describe prepares the metrics. The pool's name is a constant label of each, so
// that a registry takes several pools.
func (p *Pool) describe() {
	constant := prometheus.Labels{label(poolmetrics.AttrPool): p.core.Name(), label(poolmetrics.AttrSystem): poolmetrics.System}
	desc := func(m poolmetrics.Measure, labels []string) *prometheus.Desc {
		return prometheus.NewDesc(metricName(&m), m.Help, labels, constant)
	}
	for _, m := range poolmetrics.Measures() {
		labels := []string{label(poolmetrics.AttrServer), label(poolmetrics.AttrPort)}
		if m.Attr != "" {
			labels = append(labels, label(m.Attr))
		}
		p.descs.measures = append(p.descs.measures, desc(m, labels))
	}
	p.descs.idleMin = desc(poolmetrics.IdleMin(), nil)
	p.descs.timeouts = desc(poolmetrics.Timeouts(), nil)
	for i, m := range poolmetrics.Times() {
		p.times[i] = prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: metricName(&m), Help: m.Help, ConstLabels: constant, Buckets: poolmetrics.Bounds(),
		})
	}
}

// Describe implements prometheus.Collector.
func (p *Pool) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range p.descs.measures {
		ch <- d
	}
	ch <- p.descs.idleMin
	ch <- p.descs.timeouts
	for _, h := range p.times {
		h.Describe(ch)
	}
}

// Collect implements prometheus.Collector.
func (p *Pool) Collect(ch chan<- prometheus.Metric) {
	measures, nodes := poolmetrics.Measures(), p.core.Nodes()
	for i := range nodes {
		s := &nodes[i]
		host, port := poolmetrics.HostPort(s.Addr)
		for j := range measures {
			m := &measures[j]
			for _, r := range m.Readings {
				labels := []string{host, port}
				if m.Attr != "" {
					labels = append(labels, r.Value)
				}
				ch <- prometheus.MustNewConstMetric(p.descs.measures[j], valueType(m.Form), float64(r.Of(s)), labels...)
			}
		}
	}
	ch <- prometheus.MustNewConstMetric(p.descs.idleMin, prometheus.GaugeValue, float64(p.core.MinIdle()))
	ch <- prometheus.MustNewConstMetric(p.descs.timeouts, prometheus.CounterValue, float64(p.core.Timeouts()))
	for _, h := range p.times {
		h.Collect(ch)
	}
}

func valueType(f poolmetrics.Form) prometheus.ValueType {
	if f == poolmetrics.Counter {
		return prometheus.CounterValue
	}
	return prometheus.GaugeValue
}

// metricName spells a name for Prometheus, by OpenTelemetry's rules.
func metricName(m *poolmetrics.Measure) string {
	name := label(m.Name)
	if m.Unit == "s" {
		name += "_seconds"
	}
	if m.Form == poolmetrics.Counter {
		name += "_total"
	}
	return name
}

// label spells an attribute for Prometheus.
func label(attr string) string { return strings.ReplaceAll(attr, ".", "_") }
