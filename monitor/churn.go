package monitor

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// youngAge is the maximum age of a connection that counts as new.
const youngAge = 5 * time.Second

// churn counts, for each service, the connections that were new in one snapshot and gone in the
// next. It finds services that open one connection for each request: they have hardly any at one
// moment.
type churn map[string]float64

// churnKept is the weight of the previous counts after each snapshot.
const churnKept = 0.9

// between returns the counts after two successive snapshots. It does not change c.
func (c churn) between(before, after *Snapshot) churn {
	next := churn{}
	for service, n := range c {
		if n *= churnKept; n > 0.1 {
			next[service] = n
		}
	}
	for id, service := range before.young {
		if _, there := slices.BinarySearch(after.ids, id); !there {
			next[service]++
		}
	}
	return next
}

// most returns the service with the highest count, and its share. It returns "" if nothing was
// counted.
func (c churn) most() (service string, share float64) {
	sum, top := 0.0, 0.0
	for _, name := range slices.SortedFunc(maps.Keys(c), cmp.Compare[string]) {
		n := c[name]
		if sum += n; n > top {
			service, top = name, n
		}
	}
	if sum > 0 {
		share = top / sum
	}
	return service, share
}

// stormy reports whether the rate of new connections is high enough to look for their owners.
func (r Rates) stormy() bool {
	return r.Known && r.Opened >= stormLeast && (r.Opened > stormRate || r.Opened > stormShare*r.Commands)
}

const (
	stormRate  = 50.0 // connections a second
	stormShare = 0.01 // of the commands
	stormLeast = 1.0  // connections a second: lower rates do not matter, even with few commands
)
