package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"time"
)

// job is one measurement, in its own process.
type job struct {
	Case    string
	Client  string
	Addr    string
	Time    time.Duration
	Profile string // file; empty: none
}

// measured is the outcome of one measurement.
type measured struct {
	Ops        float64 `json:"ops_per_s"`
	P50        float64 `json:"p50_us"`
	P99        float64 `json:"p99_us"`
	P999       float64 `json:"p999_us"`
	Max        float64 `json:"max_us"`
	CPU        float64 `json:"cpu_us_per_op"`
	Allocs     float64 `json:"allocs_per_op"`
	Sockets    float64 `json:"sockets_peak"`
	ServerCPU  float64 `json:"server_cpu_us_per_op,omitempty"`  // absent in records of older versions
	UsualP99   float64 `json:"usual_p99_us,omitempty"`          // of the small values only, in a case with both sizes
	IdleBytes  float64 `json:"idle_bytes,omitempty"`            // of a client, in the case memory
	CallerHeap float64 `json:"heap_bytes_per_caller,omitempty"` // in the case memory, without stacks
}

// fields are the figures that have medians.
func (m *measured) fields() []*float64 {
	return []*float64{&m.Ops, &m.P50, &m.P99, &m.P999, &m.Max, &m.CPU, &m.Allocs, &m.Sockets, &m.ServerCPU, &m.UsualP99, &m.IdleBytes, &m.CallerHeap}
}

// median returns the median of each figure.
func median(rounds []measured) measured {
	var m measured
	for i, f := range m.fields() {
		var values []float64
		for j := range rounds {
			values = append(values, *rounds[j].fields()[i])
		}
		slices.Sort(values)
		*f = values[len(values)/2]
		if n := len(values); n%2 == 0 {
			*f = (values[n/2-1] + values[n/2]) / 2
		}
	}
	return m
}

func (j job) encode() (string, error) {
	b, err := json.Marshal(j)
	return string(b), err
}

func decodeJob(text string) (job, benchCase, error) {
	var j job
	if err := json.Unmarshal([]byte(text), &j); err != nil {
		return j, benchCase{}, fmt.Errorf("the job of a worker: %w", err)
	}
	cases, err := selectCases([]string{j.Case})
	if err != nil {
		return j, benchCase{}, err
	}
	return j, cases[0], checkClients([]string{j.Client})
}

// report prints a worker's measurements for the process that started it.
func (m measured) report() error { return json.NewEncoder(os.Stdout).Encode(m) }
