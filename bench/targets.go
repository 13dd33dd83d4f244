package main

import (
	"fmt"
	"slices"
)

// target is a figure that respool should reach.
type target struct {
	Case string  `json:"case"`
	What string  `json:"what"`
	Got  float64 `json:"got"`
	Want string  `json:"want"`
	OK   bool    `json:"ok"`
}

// field selects one figure.
type field func(*measured) float64

func ops(m *measured) float64             { return m.Ops }
func p50(m *measured) float64             { return m.P50 }
func p99(m *measured) float64             { return m.P99 }
func longest(m *measured) float64         { return m.Max }
func processor(m *measured) float64       { return m.CPU }
func serverProcessor(m *measured) float64 { return m.ServerCPU }

// judge compares respool's figures with its targets, if both were measured.
type judge struct {
	results results
	targets []target
}

func (j *judge) ours(name string) *measured {
	m, ok := j.results[name]["respool"]
	if !ok {
		return nil
	}
	return &m
}

// best returns the best figure of the peers: the highest, or the lowest.
func (j *judge) best(name string, f field, highest bool) (float64, bool) {
	var values []float64
	for client, m := range j.results[name] {
		if client != "respool" && client != redisBenchmark {
			values = append(values, f(&m))
		}
	}
	if len(values) == 0 {
		return 0, false
	}
	if highest {
		return slices.Max(values), true
	}
	return slices.Min(values), true
}

// atLeast requires a figure of at least so many times the best peer's. atMost requires at most so
// many times.
func (j *judge) atLeast(name, what string, f field, times float64) {
	if peer, ok := j.best(name, f, true); ok && j.ours(name) != nil {
		j.least(name, what+", ratio to the best peer", ratio(f(j.ours(name)), peer), times)
	}
}

func (j *judge) atMost(name, what string, f field, times float64) {
	if peer, ok := j.best(name, f, false); ok && j.ours(name) != nil {
		j.most(name, what+", ratio to the best peer", ratio(f(j.ours(name)), peer), times)
	}
}

func (j *judge) least(name, what string, got, want float64) {
	j.targets = append(j.targets, target{name, what, got, fmt.Sprintf(">= %g", want), got >= want})
}

func (j *judge) most(name, what string, got, want float64) {
	j.targets = append(j.targets, target{name, what, got, fmt.Sprintf("<= %g", want), got <= want})
}

func (j *judge) sockets(name string, limit float64) {
	if m := j.ours(name); m != nil {
		j.most(name, "sockets", m.Sockets, limit)
	}
}

// bestAt requires a figure of at most so many times that of the peer with the highest throughput.
func (j *judge) bestAt(name, what string, f field, times float64) {
	var peer *measured
	for client, m := range j.results[name] {
		if client != "respool" && client != redisBenchmark && (peer == nil || m.Ops > peer.Ops) {
			peer = &m
		}
	}
	if m := j.ours(name); m != nil && peer != nil {
		j.most(name, what+", ratio to the best peer", ratio(f(m), f(peer)), times)
	}
}

// blocking judges the cases of commands that wait.
func (j *judge) blocking() {
	j.atLeast("blocking-pop", "throughput", ops, 5)
	j.bestAt("blocking-pop", "p99", p99, 0.3)
	j.bestAt("blocking-pop", "processor time of the server", serverProcessor, 1)
	if m := j.ours("blocking-many"); m != nil {
		j.most("blocking-many", "ms of p99 from push to reply", m.P99/1000, 5)
	}
	j.atMost("blocking-alone", "p50 from push to reply", p50, 1.3)
	for _, name := range []string{"blocking-mixed-1", "blocking-mixed-2", "blocking-mixed-4"} {
		if m := j.ours(name); m != nil {
			j.least(name, "operations a second", m.Ops, 100_000)
		}
	}
}

const kib = 1024

// judgeAll compares all results with the targets.
func judgeAll(r results) []target {
	j := &judge{results: r}
	j.atMost("callers-1", "p50", p50, 1.05)
	for _, name := range []string{"callers-2", "callers-8"} {
		j.atLeast(name, "throughput", ops, 1)
		j.bestAt(name, "p50", p50, 1.05)
		j.sockets(name, 4)
	}
	j.atLeast("callers-64", "throughput", ops, 2)
	j.atLeast("callers-1024", "throughput", ops, 1.5)
	j.atMost("callers-1024", "p99", p99, 0.6)
	j.sockets("callers-1024", 4)
	for _, name := range []string{"callers-64", "callers-1024"} {
		j.atMost(name, "processor time an operation", processor, 0.6)
	}
	if a, b := j.ours("callers-1024"), j.ours("callers-10000"); a != nil && b != nil {
		j.least("callers-10000", "throughput, ratio to 1,024 callers", ratio(b.Ops, a.Ops), 0.9)
		j.most("callers-10000", "p99, ratio to 1,024 callers", ratio(b.P99, a.P99), 10000.0/1024)
	}
	for _, name := range []string{"pipelines-1", "pipelines-8"} {
		j.atLeast(name, "throughput", ops, 1.2)
		if limit, ok := r[name][redisBenchmark]; ok && j.ours(name) != nil {
			j.least(name, "throughput, ratio to redis-benchmark -P 100", ratio(j.ours(name).Ops, limit.Ops), 0.8)
		}
	}
	j.atLeast("values-16k", "throughput", ops, 1)
	j.atLeast("values-1m", "throughput", ops, 1)
	j.atLeast("small-beside-1m", "throughput of the large values", ops, 1)
	if m := j.ours("small-beside-1m"); m != nil {
		j.most("small-beside-1m", "p99 of the small values, ratio to that among 64 callers on small ones", ratio(m.P99, m.UsualP99), 3)
	}
	j.atLeast("network-64", "throughput", ops, 1.5)
	j.atLeast("network-1024", "throughput", ops, 1.5)
	j.atLeast("dedicated-hold", "throughput", ops, 1)
	j.atMost("dedicated-hold", "longest wait", longest, 0.5)
	j.blocking()
	if m := j.ours("memory"); m != nil {
		j.most("memory", "KiB of heap for each caller in flight", m.CallerHeap/kib, 4)
		j.most("memory", "KiB of an idle client with 2 lanes", m.IdleBytes/kib, 200)
	}
	return j.targets
}
