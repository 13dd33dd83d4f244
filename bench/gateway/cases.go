package main

import (
	"fmt"
	"slices"
	"strings"
)

// load is the kind of work in a case.
type load string

const (
	benchmarked load = "redis-benchmark" // SET, then GET, by redis-benchmark
	idle        load = "idle"            // clients that send one PING and stay connected
	goRedis     load = "go-redis"        // GET and SET, 4 to 1, by go-redis
	workers     load = "workers"         // BLPOP by coroutines of redis-py
)

// The subjects.
const (
	direct    = "direct"
	gateway   = "gateway"
	twemproxy = "twemproxy"
	plain     = "plain"  // go-redis on its own pool
	dialer    = "dialer" // go-redis over respool's connections in memory
)

// gatewayCase is one table of the comparison.
type gatewayCase struct {
	Name     string
	About    string
	Load     load
	Clients  int
	Pipeline int
	// Connections is the gateway's max_connections; 0: the flag --connections.
	Connections int
	Rate        int      // elements a second for workers; 0: as many as they take
	subjects    []string // ratios are relative to the first one
	targets     []wanted
}

// wanted is a target of a subject: a ratio to a peer or, without a peer, an absolute figure.
type wanted struct {
	what    string
	field   field
	subject string
	peer    string
	bound   bound
	limit   float64
}

// bound is how a figure compares with its limit.
type bound string

const (
	atLeast bound = ">="
	atMost  bound = "<="
	below   bound = "<"
)

func (b bound) holds(got, limit float64) bool {
	switch b {
	case atLeast:
		return got >= limit
	case atMost:
		return got <= limit
	default:
		return got < limit
	}
}

const (
	valueSize = 64
	keyCount  = 100_000
	mib       = 1024 // VmRSS counts in KiB
)

func allCases() []gatewayCase {
	three := []string{direct, gateway, twemproxy}
	return []gatewayCase{
		{Name: "c50", About: "50 clients, one request at a time", Load: benchmarked, Clients: 50, Pipeline: 1, subjects: three,
			targets: []wanted{{"GET/s, ratio to direct", get, gateway, direct, atLeast, 0.85}}},
		{Name: "c1000", About: "1,000 clients, one request at a time", Load: benchmarked, Clients: 1000, Pipeline: 1, subjects: three,
			targets: []wanted{
				{"GET/s, ratio to direct", get, gateway, direct, atLeast, 1.1},
				{"p99, ratio to direct", p99, gateway, direct, atMost, 1},
			}},
		{Name: "c50-p16", About: "50 clients, pipelines of 16", Load: benchmarked, Clients: 50, Pipeline: 16, subjects: three,
			targets: []wanted{{"GET/s, ratio to twemproxy", get, gateway, twemproxy, atLeast, 1.7}}},
		{Name: "go-redis", About: "go-redis, 64 goroutines, GET and SET 4 to 1: its pool of 64, and respool's dialer in memory",
			Load: goRedis, Clients: 64, Pipeline: 1, subjects: []string{plain, dialer},
			targets: []wanted{{"operations/s, ratio to plain", get, dialer, plain, atLeast, 1.6}}},
		{Name: "workers", About: "200 asyncio workers of redis-py in BLPOP on one list, at most 100 elements in it; the gateway has 4 connections",
			Load: workers, Clients: 200, Connections: 4, subjects: []string{direct, gateway}},
		{Name: "workers-paced", About: "the same with 500 elements a second, so that nearly all workers wait",
			Load: workers, Clients: 200, Connections: 4, Rate: 500, subjects: []string{direct, gateway}},
		{Name: "idle", About: "10,000 clients that have sent one PING each", Load: idle, Clients: 10_000, subjects: []string{gateway, twemproxy},
			targets: []wanted{{"MiB more resident", grown, gateway, "", below, 60}}},
	}
}

func caseNames() string {
	var names []string
	for _, c := range allCases() {
		names = append(names, c.Name)
	}
	return strings.Join(names, ", ")
}

func selectCases(names []string) ([]gatewayCase, error) {
	all := allCases()
	if len(names) == 0 {
		return all, nil
	}
	var chosen []gatewayCase
	for _, name := range names {
		i := slices.IndexFunc(all, func(c gatewayCase) bool { return c.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("unknown case %q: want one of %s", name, caseNames())
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}
