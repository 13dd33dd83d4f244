package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// load is the kind of work of a case's callers.
type load string

const (
	getSet   load = "get-set"  // GET and SET, 4 to 1
	pipeline load = "pipeline" // the same in pipelines of 100
	beside   load = "beside"   // one caller on small values, the others on values of the case's size
	pop      load = "pop"      // RPUSH and BLPOP on one list
	many     load = "many"     // BLPOP of a key for each caller; the bench pushes
	alone    load = "alone"    // BLPOP by one caller; the bench pushes when the caller waits
	group    load = "group"    // XREADGROUP by consumers of one group; the bench adds
	mixed    load = "mixed"    // ECHO and INCR, and one BLPOP that times out in 20 commands
	hold     load = "hold"     // three commands on a dedicated connection
	memory   load = "memory"   // callers of a stalled server
)

// batch is the number of commands in one pipeline.
const batch = 100

// benchCase is one row of the comparison.
type benchCase struct {
	Name    string
	About   string
	Load    load
	Callers int
	Size    int           // bytes of a value
	Keys    int           // number of keys
	Delay   time.Duration // latency of the network, in each direction
	Conns   int           // limit of dedicated connections; 0: the client's best setting
	Max     int           // MaxConnections of respool; 0: its default, or Conns and one for shared use
	Longer  int           // times the usual duration of a measurement, for a case of few operations; 0: once
	clients []string
}

const (
	smallSize = 64
	smallKeys = 1000
)

var everyone = []string{"respool", "redigo", "rueidis", "rueidis-1", "go-redis", "go-redis-auto"}

func callers(n int) benchCase {
	return benchCase{Name: fmt.Sprintf("callers-%d", n), About: several(n) + ", GET and SET of 64 B",
		Load: getSet, Callers: n, Size: smallSize, Keys: smallKeys, clients: everyone}
}

func several(n int) string {
	if n == 1 {
		return "1 caller"
	}
	return grouped(float64(n)) + " callers"
}

func allCases() []benchCase {
	var all []benchCase
	for _, n := range []int{1, 2, 8, 64, 1024} {
		all = append(all, callers(n))
	}
	largest := callers(10000)
	largest.clients = []string{"respool", "rueidis", "go-redis-auto"}
	all = append(all, largest)
	for _, n := range []int{1, 8} {
		all = append(all, benchCase{Name: fmt.Sprintf("pipelines-%d", n), About: several(n) + ", pipelines of 100",
			Load: pipeline, Callers: n, Size: smallSize, Keys: smallKeys,
			clients: []string{"respool", "redigo", "rueidis", "rueidis-1", "go-redis", redisBenchmark}})
	}
	values := []string{"respool", "redigo", "rueidis", "go-redis", "go-redis-auto"}
	network := []string{"respool", "rueidis", "rueidis-1", "go-redis", "go-redis-auto"}
	leased := []string{"respool", "redigo", "rueidis", "go-redis"}
	all = append(all,
		benchCase{Name: "values-16k", About: "64 callers, values of 16 KiB", Load: getSet, Callers: 64, Size: 16 << 10, Keys: 100, clients: values},
		benchCase{Name: "values-1m", About: "64 callers, values of 1 MiB", Load: getSet, Callers: 64, Size: 1 << 20, Keys: 20, clients: values},
		benchCase{Name: "small-beside-1m", About: "1 caller on 64 B (its latency) beside 63 on 1 MiB (their throughput)",
			Load: beside, Callers: 64, Size: 1 << 20, Keys: 20, clients: values},
		benchCase{Name: "network-64", About: "64 callers, 1 ms round trip", Load: getSet, Callers: 64, Size: smallSize, Keys: smallKeys,
			Delay: 500 * time.Microsecond, clients: network},
		benchCase{Name: "network-1024", About: "1,024 callers, 1 ms round trip", Load: getSet, Callers: 1024, Size: smallSize, Keys: smallKeys,
			Delay: 500 * time.Microsecond, clients: network},
		benchCase{Name: "blocking-pop", About: "200 callers, RPUSH and BLPOP on one list, 10 connections for BLPOP",
			Load: pop, Callers: 200, Conns: 10, clients: leased},
		benchCase{Name: "blocking-many", About: "10,000 callers in BLPOP on a key each, 1,000 pushes/s in random order; latency from push to reply",
			Load: many, Callers: 10000, Conns: 10, Longer: 5, clients: []string{"respool"}},
		benchCase{Name: "blocking-alone", About: "1 caller in BLPOP, a push when it waits; latency from push to reply",
			Load: alone, Callers: 1, Conns: 10, clients: leased},
		benchCase{Name: "streams", About: "100 consumers of one group in XREADGROUP, at most 64 unread entries; latency from XADD to reply",
			Load: group, Callers: 100, Conns: 10, clients: leased},
		benchCase{Name: "dedicated-hold", About: "200 callers on 10 connections, leased for 3 commands", Load: hold, Callers: 200, Conns: 10,
			Size: smallSize, Keys: smallKeys, clients: leased},
		benchCase{Name: "memory", About: "10,000 callers in flight, stalled server", Load: memory, Callers: 10000, Size: smallSize, Keys: smallKeys,
			clients: []string{"respool", "rueidis", "go-redis-auto"}},
	)
	for _, n := range []int{1, 2, 4} {
		all = append(all, benchCase{Name: fmt.Sprintf("blocking-mixed-%d", n),
			About: fmt.Sprintf("500 callers, ECHO and INCR, 5%% BLPOP of 50 ms; MaxConnections %d of respool, no limit for the peer", n),
			Load:  mixed, Callers: 500, Max: n, clients: []string{"respool", "rueidis"}})
	}
	return all
}

// fed reports whether the bench itself provides the elements that callers wait for.
func (c *benchCase) fed() bool { return c.Load == many || c.Load == alone || c.Load == group }

// ownConns returns the number of connections of a worker that do not belong to its client: one for
// the processor time of the server and, in some cases, one that provides elements.
func (c *benchCase) ownConns() int {
	if c.fed() {
		return 2
	}
	return 1
}

func caseNames() string {
	var names []string
	for _, c := range allCases() {
		names = append(names, c.Name)
	}
	return strings.Join(names, ", ")
}

func selectCases(names []string) ([]benchCase, error) {
	all := allCases()
	if len(names) == 0 {
		return all, nil
	}
	var chosen []benchCase
	for _, name := range names {
		i := slices.IndexFunc(all, func(c benchCase) bool { return c.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("unknown case %q: want one of %s", name, caseNames())
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}
