package monitor

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// bounds contains the default connection limit of a library, by its name.
var bounds = map[string]string{
	"redis-py":   "it has no limit by default: each command in flight takes a connection; set max_connections",
	"go-redis":   "its pool keeps 10 for each CPU (PoolSize), and opens more under load unless MaxActiveConns limits it",
	"rueidis":    "it opens up to 1024 for blocking commands (BlockingPoolSize)",
	"jedis":      "its pool holds 8 by default (maxTotal)",
	"lettuce":    "it shares one for each client object; a pool around it holds 8 by default (maxTotal)",
	"node-redis": "it opens one for each client object: check how many there are",
	"ioredis":    "it opens one for each client object: check how many there are",
}

// broken lists versions that keep unused connections.
var broken = []struct{ lib, from, to, what, where string }{
	{"redis-py", "5.0.0", "5.0.1", "connections of clients that are not closed explicitly stay open", "redis-py 5.0.2"},
}

const (
	idlePoolLeast = 20  // connections: smaller pools do not matter
	idlePoolShare = 0.8 // share of connections that are idle for a minute or longer
	youngPool     = 5 * time.Minute
)

// libraries finds pools that are much larger than their use, and libraries with known faults.
func (d *diagnosis) libraries() {
	if d.after.Owners == nil {
		return
	}
	reported := map[string]bool{}
	for _, g := range d.after.Owners.Sorted() {
		service, lib := g.Key[0], g.Key[1]
		name, version, _ := strings.Cut(lib, " ")
		name, _, _ = strings.Cut(name, "(") // go-redis appends its platform
		d.oversized(&g, service, name)
		for _, b := range broken {
			if b.lib != name || !between(b.from, version, b.to) || reported[service+lib] {
				continue
			}
			reported[service+lib] = true
			d.add(Finding{Rule: "library", Severity: Warn, Subject: service,
				What:     fmt.Sprintf("%s uses %s: %s", service, lib, b.what),
				Evidence: fmt.Sprintf("%d connections of that version", g.Clients),
				Remedy:   "upgrade to " + b.where + " or later"})
		}
	}
}

func (d *diagnosis) oversized(g *Group, service, lib string) {
	if g.Clients < idlePoolLeast || float64(g.Idle) < idlePoolShare*float64(g.Clients) || g.Oldest < youngPool {
		return
	}
	if slices.ContainsFunc(d.found, func(f Finding) bool { return f.Subject == service }) {
		return // a more severe finding exists
	}
	f := Finding{Rule: "oversized", Severity: Note, Subject: service,
		What:     fmt.Sprintf("%s keeps %d connections and used %d of them in the last minute", service, g.Clients, g.Clients-g.Idle),
		Evidence: fmt.Sprintf("%d have been idle for a minute or longer, the longest for %v", g.Idle, g.LongestIdle),
		Remedy:   "size the pool by its load: respool plan"}
	if text := bounds[lib]; text != "" {
		f.Evidence += "; " + lib + ": " + text
	}
	d.add(f)
}

// between compares versions number by number.
func between(from, version, to string) bool {
	if version == "" {
		return false
	}
	return !older(version, from) && !older(to, version)
}

func older(a, b string) bool {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i := range max(len(as), len(bs)) {
		if x, y := part(as, i), part(bs, i); x != y {
			return x < y
		}
	}
	return false
}

// part returns the i-th number of a version. Text that is not a number counts as 0.
func part(version []string, i int) int {
	if i >= len(version) {
		return 0
	}
	digits := strings.TrimLeftFunc(version[i], func(r rune) bool { return r < '0' || r > '9' })
	if end := strings.IndexFunc(digits, func(r rune) bool { return r < '0' || r > '9' }); end >= 0 {
		digits = digits[:end]
	}
	n, _ := strconv.Atoi(digits)
	return n
}
