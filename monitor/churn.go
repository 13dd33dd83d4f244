package monitor

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// youngAge is up to which age a connection may turn out to be a short one.
const youngAge = 5 * time.Second

// churn counts by service the connections that were seen young in one look and
// were gone in the next one. That is how services are found that open one for
// each request: at any moment they have hardly any.
type churn map[string]float64

// churnKept is how much a look counts for at the next one.
const churnKept = 0.9

// between takes in two looks that follow one another. Nothing is changed:
// what it was before stays as it is.
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

// most is the service with the most, and its share; empty if none was seen.
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

// stormy reports whether so many connections are opened that it is worth to
// see by whom.
func (r Rates) stormy() bool {
	return r.Known && r.Opened >= stormLeast && (r.Opened > stormRate || r.Opened > stormShare*r.Commands)
}

const (
	stormRate  = 50.0 // connections a second
	stormShare = 0.01 // of the commands
	stormLeast = 1.0  // connections a second: fewer nobody minds, however few commands there are
)
