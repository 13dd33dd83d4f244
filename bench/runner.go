package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/testkit/faultnet"
)

// runner measures each client of each case, in turn.
type runner struct {
	server   *server
	rounds   int
	time     time.Duration
	only     []string
	profiles string // directory; empty: none
	progress *progress
}

// results are the medians, by case and client.
type results map[string]map[string]measured

func (r *runner) clientsOf(c benchCase) []string {
	if len(r.only) == 0 {
		return c.clients
	}
	return slices.DeleteFunc(slices.Clone(c.clients), func(name string) bool { return !slices.Contains(r.only, name) })
}

func (r *runner) run(ctx context.Context, cases []benchCase) (results, error) {
	total := 0
	for _, c := range cases {
		total += len(r.clientsOf(c)) * r.rounds
	}
	if total == 0 {
		return nil, fmt.Errorf("the selected cases do not use the clients %s", strings.Join(r.only, ", "))
	}
	r.progress.begin(total)
	defer r.progress.end()
	all := results{}
	for _, c := range cases {
		if err := r.server.store(c); err != nil {
			return nil, fmt.Errorf("store the keys: %w", err)
		}
		names := r.clientsOf(c)
		rounds := map[string][]measured{}
		for round := range r.rounds {
			for i := range names {
				// Each round begins with another client.
				name := names[(i+round)%len(names)]
				r.progress.step(fmt.Sprintf("%s, round %d of %d: %s", c.Name, round+1, r.rounds, name))
				m, err := r.once(ctx, c, name)
				if err != nil {
					return nil, fmt.Errorf("case %s: %w", c.Name, err)
				}
				rounds[name] = append(rounds[name], m)
			}
		}
		all[c.Name] = map[string]measured{}
		for name, ms := range rounds {
			all[c.Name][name] = median(ms)
		}
	}
	return all, nil
}

// once measures one client once, in its own process, and counts the server's connections meanwhile.
func (r *runner) once(ctx context.Context, c benchCase, name string) (measured, error) {
	if name == redisBenchmark {
		return r.limit(ctx, c)
	}
	addr := r.server.addr
	if c.Delay > 0 {
		relay, err := faultnet.Open(addr)
		if err != nil {
			return measured{}, err
		}
		defer relay.Close()
		relay.Delay(c.Delay, 0)
		addr = relay.Addr()
	}
	j := job{Case: c.Name, Client: name, Addr: addr, Time: r.time * time.Duration(max(1, c.Longer))}
	if r.profiles != "" {
		j.Profile = filepath.Join(r.profiles, c.Name+"-"+name+".pprof")
	}
	text, err := j.encode()
	if err != nil {
		return measured{}, err
	}
	if err := r.quiet(ctx); err != nil {
		return measured{}, err
	}
	self, err := os.Executable()
	if err != nil {
		return measured{}, err
	}
	var out, errOut bytes.Buffer
	cmd := exec.CommandContext(ctx, self, "--worker", text)
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Start(); err != nil {
		return measured{}, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	peak, err := r.watch(c, ended)
	if err != nil {
		return measured{}, fmt.Errorf("%s: %w: %s", name, err, strings.TrimSpace(errOut.String()))
	}
	var m measured
	if err := json.Unmarshal(out.Bytes(), &m); err != nil {
		return m, fmt.Errorf("%s: the output of its process: %w", name, err)
	}
	m.Sockets = float64(max(0, peak-c.ownConns()))
	return m, nil
}

// The intervals of samples of the server.
const (
	countEvery = 50 * time.Millisecond
	quietLimit = 10 * time.Second
)

// watch counts the server's connections until the worker has ended.
func (r *runner) watch(c benchCase, ended <-chan error) (peak int, err error) {
	if c.Load == memory {
		return 0, <-ended // it has its own connection and stalls the server
	}
	count := time.NewTicker(countEvery)
	defer count.Stop()
	for {
		select {
		case err := <-ended:
			return peak, err
		case <-count.C:
			n, err := r.server.sockets()
			if err != nil {
				return peak, err
			}
			peak = max(peak, n)
		}
	}
}

// quiet waits until the connections of the last client are closed.
func (r *runner) quiet(ctx context.Context) error {
	for limit := time.Now().Add(quietLimit); ; {
		n, err := r.server.sockets()
		if err != nil || n == 0 || r.server.cmd == nil {
			return err
		}
		if time.Now().After(limit) {
			return fmt.Errorf("the server still counts %d connections %v after the last measurement", n, quietLimit)
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// limit measures with redis-benchmark: pipelines of 100 on one connection for each caller.
func (r *runner) limit(ctx context.Context, c benchCase) (measured, error) {
	host, port, err := net.SplitHostPort(r.server.addr)
	if err != nil {
		return measured{}, err
	}
	requests := int(r.time.Seconds() * 800_000)
	out, err := exec.CommandContext(ctx, redisBenchmark, "-h", host, "-p", port, "-t", "get", "-d", strconv.Itoa(c.Size),
		"-c", "1", "-P", strconv.Itoa(batch), "-n", strconv.Itoa(requests), "--csv").Output()
	if err != nil {
		return measured{}, fmt.Errorf("%s: %w", redisBenchmark, err)
	}
	rows, err := csv.NewReader(bytes.NewReader(out)).ReadAll()
	if err != nil || len(rows) < 2 || len(rows[1]) < 8 {
		return measured{}, fmt.Errorf("%s printed %.200q: want a table of test, rps and latencies in CSV", redisBenchmark, out)
	}
	// test, rps, and in ms: avg, min, p50, p95, p99, max
	var v [8]float64
	for i := 1; i < len(v); i++ {
		if v[i], err = strconv.ParseFloat(rows[1][i], 64); err != nil {
			return measured{}, fmt.Errorf("%s printed %q: want a number", redisBenchmark, rows[1][i])
		}
	}
	return measured{Ops: v[1], P50: 1000 * v[4], P99: 1000 * v[6], Max: 1000 * v[7], Sockets: 1}, nil
}
