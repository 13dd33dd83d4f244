package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
)

// poolDescs are what a pool may show.
type poolDescs struct {
	measures          []*prometheus.Desc // in the order of measures
	idleMin, timeouts *prometheus.Desc
}

// describe prepares what Prometheus sees. The pool's name is a constant label
// of each metric, so that a registry takes several pools.
func (p *Pool) describe() {
	constant := prometheus.Labels{label(attrPool): p.name, label(attrSystem): system}
	for i := range measures {
		m := &measures[i]
		labels := []string{label(attrServer), label(attrPort)}
		if m.attr != "" {
			labels = append(labels, label(m.attr))
		}
		p.descs.measures = append(p.descs.measures, prometheus.NewDesc(m.promName(), m.help, labels, constant))
	}
	p.descs.idleMin = prometheus.NewDesc(idleMin.promName(), idleMin.help, nil, constant)
	p.descs.timeouts = prometheus.NewDesc(timeouts.promName(), timeouts.help, nil, constant)
	for i := range times {
		p.times[i] = prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: times[i].promName(), Help: times[i].help, ConstLabels: constant, Buckets: bounds(),
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
	nodes := p.nodes()
	for i := range nodes {
		s := &nodes[i]
		host, port := hostPort(s.Addr)
		for j := range measures {
			m := &measures[j]
			for _, r := range m.readings {
				labels := []string{host, port}
				if m.attr != "" {
					labels = append(labels, r.value)
				}
				ch <- prometheus.MustNewConstMetric(p.descs.measures[j], m.form.valueType(), float64(r.of(s)), labels...)
			}
		}
	}
	ch <- prometheus.MustNewConstMetric(p.descs.idleMin, prometheus.GaugeValue, float64(p.minIdle))
	ch <- prometheus.MustNewConstMetric(p.descs.timeouts, prometheus.CounterValue, float64(p.timeouts.Load()))
	for _, h := range p.times {
		h.Collect(ch)
	}
}

func (f form) valueType() prometheus.ValueType {
	if f == counter {
		return prometheus.CounterValue
	}
	return prometheus.GaugeValue
}
