package monitor

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"
)

// youngAge is the maximum age of a connection that counts as new.
const youngAge = 5 * time.Second

// churn counts, for each kind, the connections that were new in one snapshot and gone in the
// next. It finds services that open one connection for each request: they have hardly any at one
// moment.
type churn map[shortConn]float64

// shortConn is the kind of a short connection.
type shortConn struct {
	service string
	named   bool
	traits  string // of one without a name, in words
}

func shortConnOf(c *Client) shortConn {
	s := shortConn{service: c.Service(), named: c.Name != ""}
	if s.named {
		return s
	}
	var parts []string
	for _, by := range []string{"cmd", "user", "lib", "addr"} {
		if value := keys[by](c); !strings.HasPrefix(value, "(") {
			parts = append(parts, partTitle[by]+" "+value)
		}
	}
	s.traits = strings.Join(parts, ", ")
	return s
}

// churnKept is the weight of the previous counts after each snapshot.
const churnKept = 0.9

// between returns the counts after two successive snapshots. It does not change c.
func (c churn) between(before, after *Snapshot) churn {
	next := churn{}
	for kind, n := range c {
		if n *= churnKept; n > 0.1 {
			next[kind] = n
		}
	}
	for id, kind := range before.young {
		if _, there := slices.BinarySearch(after.ids, id); !there {
			next[kind]++
		}
	}
	return next
}

// most returns the service with the highest count, its share, and the most common traits of its connections if they have no
// names. It returns "" if nothing was counted.
func (c churn) most() (service string, share float64, traits string) {
	services, sum := map[string]float64{}, 0.0
	for kind, n := range c {
		services[kind.service] += n
		sum += n
	}
	if len(services) == 0 {
		return "", 0, ""
	}
	service = slices.MaxFunc(slices.Sorted(maps.Keys(services)), func(a, b string) int { return cmp.Compare(services[a], services[b]) })
	var top float64
	for kind, n := range c {
		if kind.service == service && !kind.named && (n > top || n == top && kind.traits < traits) {
			traits, top = kind.traits, n
		}
	}
	if top < services[service]/2 {
		traits = ""
	}
	return service, services[service] / sum, traits
}

// ShortConnections returns the service that owns most of the connections that were opened and closed between the last client
// lists, its share of them, and what they have in common if they have no names. service is empty if none was seen.
func (s *NodeState) ShortConnections() (service string, share float64, traits string) {
	return s.churn.most()
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
