package main

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/gomodule/redigo/redis"
)

// workersScript is the load of the cases of workers, in Python.
//
//go:embed workers.py
var workersScript string

// taken is the outcome of workersScript.
type taken struct {
	Ops      float64
	P50, P99 float64 // us
	CPU      float64 // us of the script for each element
	Requests int     // elements, including those of the warm-up
}

// pythonWithRedis returns a Python that has redis-py.
func pythonWithRedis(ctx context.Context) (string, error) {
	for _, path := range []string{"python3", "/usr/bin/python3"} {
		if exec.CommandContext(ctx, path, "-c", "import redis.asyncio").Run() == nil {
			return path, nil
		}
	}
	return "", errors.New("no python3 with redis-py 4.2 or later: install Debian's python3-redis (scripts/deps.sh python3-redis does)")
}

// countEvery is the interval of samples of the connections of redis-server.
const countEvery = 50 * time.Millisecond

// runWorkers measures a subject with workers of redis-py in BLPOP. It starts a new proxy, so that
// redis-server counts the connections of this subject only.
func (r *runner) runWorkers(ctx context.Context, name string, c gatewayCase) (sample, error) {
	s, err := r.lab.subject(name, c)
	if err != nil {
		return sample{}, err
	}
	defer s.close()
	return r.driveWorkers(ctx, s, c)
}

// driveWorkers runs the workers once.
func (r *runner) driveWorkers(ctx context.Context, s *subject, c gatewayCase) (sample, error) {
	python, err := pythonWithRedis(ctx)
	if err != nil {
		return sample{}, err
	}
	_, subjectPort, err := net.SplitHostPort(s.addr)
	if err != nil {
		return sample{}, err
	}
	_, serverPort, err := net.SplitHostPort(r.lab.addr)
	if err != nil {
		return sample{}, err
	}
	meter, err := r.lab.meter(s)
	if err != nil {
		return sample{}, err
	}
	cmd := exec.CommandContext(ctx, python, "-c", workersScript, subjectPort, serverPort, strconv.Itoa(c.Clients),
		strconv.FormatFloat(r.time.Seconds(), 'f', -1, 64), strconv.Itoa(c.Rate))
	cmd.SysProcAttr = ownGroup()
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Start(); err != nil {
		return sample{}, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	peak, err := r.lab.watchConnections(ended)
	if err != nil {
		return sample{}, fmt.Errorf("workers of redis-py: %w: %s", err, strings.TrimSpace(errOut.String()))
	}
	var d taken
	if err := json.Unmarshal(out.Bytes(), &d); err != nil || d.Requests == 0 {
		return sample{}, fmt.Errorf("workers of redis-py printed %.200q: want figures in JSON", out.String())
	}
	m := sample{Get: d.Ops, P50: d.P50, P99: d.P99, LoadCPU: d.CPU, Connections: float64(peak)}
	return m, meter.cost(&m, d.Requests)
}

// ownConnections is the number of connections of the lab and of workersScript to redis-server that
// do not belong to a subject.
const ownConnections = 2

// watchConnections returns the most connections of a subject that redis-server counts until the
// load has ended.
func (l *lab) watchConnections(ended <-chan error) (peak int, err error) {
	count := time.NewTicker(countEvery)
	defer count.Stop()
	for {
		select {
		case err := <-ended:
			return peak, err
		case <-count.C:
			info, err := redis.String(l.control.Do("INFO", "clients"))
			if err != nil {
				return peak, err
			}
			n, err := strconv.Atoi(infoField(info, "connected_clients"))
			if err != nil {
				return peak, err
			}
			peak = max(peak, n-ownConnections)
		}
	}
}
