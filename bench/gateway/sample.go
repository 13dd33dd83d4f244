package main

import "slices"

// sample is the outcome of one run of one subject.
type sample struct {
	Get         float64 `json:"get_per_s"` // of go-redis: GET and SET together; of workers: elements
	Set         float64 `json:"set_per_s,omitempty"`
	P50         float64 `json:"p50_us"` // of GET; of workers: from the push to the reply
	P99         float64 `json:"p99_us"`
	ServerCPU   float64 `json:"redis_cpu_us_per_request"`
	ProxyCPU    float64 `json:"proxy_cpu_us_per_request"`
	LoadCPU     float64 `json:"load_cpu_us_per_request"`     // of redis-benchmark, or of the process of go-redis or redis-py
	Connections float64 `json:"redis_connections,omitempty"` // most connections of the subject, in the cases of workers
	Before      float64 `json:"rss_before_kib,omitempty"`
	After       float64 `json:"rss_after_kib,omitempty"`
}

// field selects one figure.
type field func(*sample) float64

func get(s *sample) float64   { return s.Get }
func p99(s *sample) float64   { return s.P99 }
func grown(s *sample) float64 { return (s.After - s.Before) / mib }

func (s *sample) fields() []*float64 {
	return []*float64{&s.Get, &s.Set, &s.P50, &s.P99, &s.ServerCPU, &s.ProxyCPU, &s.LoadCPU, &s.Connections, &s.Before, &s.After}
}

// medianSample returns the median of each figure.
func medianSample(rounds []sample) sample {
	var m sample
	for i, f := range m.fields() {
		values := make([]float64, len(rounds))
		for j := range rounds {
			values[j] = *rounds[j].fields()[i]
		}
		*f = median(values)
	}
	return m
}

func median(values []float64) float64 {
	v := slices.Sorted(slices.Values(values))
	n := len(v)
	if n == 0 {
		return 0
	}
	if n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[n/2]
}

// spread is a figure over all rounds.
type spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// compared returns f of the subject, as a ratio to the peer's figure of the same round or, without
// a peer, as an absolute figure. It reports false if one of them was not measured.
func compared(rounds map[string][]sample, f field, subject, peer string) (spread, bool) {
	ours, theirs := rounds[subject], rounds[peer]
	if len(ours) == 0 || peer != "" && len(theirs) != len(ours) {
		return spread{}, false
	}
	values := make([]float64, len(ours))
	for i := range ours {
		values[i] = f(&ours[i])
		if peer == "" {
			continue
		}
		base := f(&theirs[i])
		if base == 0 {
			return spread{}, false
		}
		values[i] /= base
	}
	return spread{median(values), slices.Min(values), slices.Max(values)}, true
}
