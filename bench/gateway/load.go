package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"fmt"
	"math"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// benchmark runs redis-benchmark once, with this number of SETs and then of GETs.
func benchmark(ctx context.Context, addr string, c gatewayCase, requests int) (sample, time.Duration, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return sample{}, 0, err
	}
	cmd := exec.CommandContext(ctx, "redis-benchmark", "-h", host, "-p", port, "-c", strconv.Itoa(c.Clients), "-P", strconv.Itoa(c.Pipeline),
		"-n", strconv.Itoa(requests), "-t", "get,set", "-d", strconv.Itoa(valueSize), "-r", strconv.Itoa(keyCount), "--csv")
	cmd.SysProcAttr = ownGroup()
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	// It exits on an error reply.
	if err := cmd.Run(); err != nil {
		return sample{}, 0, fmt.Errorf("redis-benchmark: %w: %s", err, strings.TrimSpace(errOut.String()))
	}
	s, err := parseBenchmark(out.Bytes())
	return s, cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), err
}

// parseBenchmark parses the CSV of redis-benchmark: a row of names, then one row for each command.
// Latencies are in ms.
func parseBenchmark(out []byte) (sample, error) {
	rows, err := csv.NewReader(bytes.NewReader(out)).ReadAll()
	if err != nil || len(rows) == 0 {
		return sample{}, fmt.Errorf("redis-benchmark printed %.200q: want a table in CSV", out)
	}
	names := map[string]int{}
	for i, name := range rows[0] {
		names[name] = i
	}
	var s sample
	for _, row := range rows[1:] {
		var figures [3]float64
		for i, name := range []string{"rps", "p50_latency_ms", "p99_latency_ms"} {
			at, ok := names[name]
			if !ok {
				return s, fmt.Errorf("redis-benchmark printed the columns %q: want %s too", rows[0], name)
			}
			if figures[i], err = strconv.ParseFloat(row[at], 64); err != nil {
				return s, fmt.Errorf("redis-benchmark printed %q as %s: want a number", row[at], name)
			}
		}
		switch row[0] {
		case "GET":
			s.Get, s.P50, s.P99 = figures[0], math.Round(1000*figures[1]), math.Round(1000*figures[2])
		case "SET":
			s.Set = figures[0]
		}
	}
	if s.Get == 0 || s.Set == 0 {
		return s, fmt.Errorf("redis-benchmark printed %.200q: want a row of GET and one of SET", out)
	}
	return s, nil
}

const (
	// calibrated is the duration of the run that determines the number of requests. guess is the
	// number of requests of that run.
	guess      = 5_000
	calibrated = 300 * time.Millisecond
)

// calibrate determines how many requests of each kind take d.
func (r *runner) calibrate(ctx context.Context, s *subject, c gatewayCase) (int, error) {
	if r.requests > 0 {
		return r.requests, nil
	}
	n := guess * c.Pipeline
	for _, d := range []time.Duration{calibrated, r.time} {
		found, _, err := benchmark(ctx, s.addr, c, n)
		if err != nil {
			return 0, err
		}
		n = fill(found, d)
	}
	return n, nil
}

// fill returns the numbers of GETs and of SETs that take d together, in thousands.
func fill(s sample, d time.Duration) int {
	return 1000 * max(1, int(math.Round(d.Seconds()/(1/s.Get+1/s.Set)/1000)))
}

// runBenchmark measures a subject with redis-benchmark.
func (r *runner) runBenchmark(ctx context.Context, s *subject, c gatewayCase, requests int) (sample, error) {
	meter, err := r.lab.meter(s)
	if err != nil {
		return sample{}, err
	}
	m, load, err := benchmark(ctx, s.addr, c, requests)
	if err != nil {
		return m, err
	}
	m.LoadCPU = each(load, 2*requests)
	return m, meter.read(&m, 2*requests)
}

// meter measures the work of the servers during a run.
type meter struct {
	lab          *lab
	subject      *subject
	redis, proxy time.Duration
	processed    int
}

func (l *lab) meter(s *subject) (*meter, error) {
	m := &meter{lab: l, subject: s}
	var err error
	if m.processed, err = l.processed(); err != nil {
		return nil, err
	}
	m.redis, m.proxy, err = m.times()
	return m, err
}

func (m *meter) times() (redis, proxy time.Duration, err error) {
	if redis, err = processorTime(m.lab.redis.pid()); err != nil || m.subject.proxy == nil {
		return redis, 0, err
	}
	proxy, err = processorTime(m.subject.proxy.pid())
	return redis, proxy, err
}

// read adds to a sample the servers' cost of each request. Every request must have reached
// redis-server, so that a proxy that replies without the server is not measured.
func (m *meter) read(s *sample, requests int) error {
	if err := m.cost(s, requests); err != nil {
		return err
	}
	processed, err := m.lab.processed()
	if err != nil {
		return err
	}
	if processed-m.processed < requests {
		return fmt.Errorf("redis-server executed %d of %d commands that got a reply", processed-m.processed, requests)
	}
	return nil
}

// cost adds to a sample the servers' cost of each request.
func (m *meter) cost(s *sample, requests int) error {
	redis, proxy, err := m.times()
	s.ServerCPU, s.ProxyCPU = each(redis-m.redis, requests), each(proxy-m.proxy, requests)
	return err
}

func each(d time.Duration, requests int) float64 {
	return float64(d) / float64(time.Microsecond) / float64(requests)
}
