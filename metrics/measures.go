package metrics

import (
	"strings"

	"github.com/seed-2b0d76a6/respool"
)

// The attributes of pools, by OpenTelemetry's names.
const (
	attrPool   = "db.client.connection.pool.name"
	attrSystem = "db.system.name"
	attrState  = "db.client.connection.state"
	attrKind   = "respool.pool.kind"
	attrServer = "server.address"
	attrPort   = "server.port"

	system = "redis"
)

// form is what may be done with the numbers of a measure.
type form int

const (
	level   form = iota // goes up and down, and may be summed
	counter             // only grows
)

// measure is something that a pool tells of each of its nodes.
type measure struct {
	name     string // OpenTelemetry's
	unit     string // in UCUM
	help     string
	form     form
	attr     string // what tells the readings apart; empty: there is one
	readings []reading
}

// reading is a number of a measure.
type reading struct {
	value string // of the attribute
	of    func(s *respool.Stats) int64
}

func one(of func(s *respool.Stats) int64) []reading { return []reading{{of: of}} }

func count(n int) int64 { return int64(n) }

func total(n uint64) int64 { return int64(n) }

// measures are told by a client's Stats.
var measures = []measure{
	{"db.client.connection.count", "{connection}", "The number of connections that are currently in state described by the `state` attribute.", level, attrState, []reading{
		{"idle", func(s *respool.Stats) int64 { return count(s.Idle) }},
		{"used", func(s *respool.Stats) int64 { return count(s.Lanes + s.Dedicated + s.Subscribed) }},
		{"dialing", func(s *respool.Stats) int64 { return count(s.Dialing) }},
		{"closing", func(s *respool.Stats) int64 { return count(s.Closing) }},
	}},
	{"db.client.connection.max", "{connection}", "The maximum number of open connections allowed.", level, "",
		one(func(s *respool.Stats) int64 { return count(s.MaxConnections) })},
	// Nothing but the bound itself limits how many may be idle.
	{"db.client.connection.idle.max", "{connection}", "The maximum number of idle open connections allowed.", level, "",
		one(func(s *respool.Stats) int64 { return count(s.MaxConnections) })},
	{"db.client.connection.pending_requests", "{request}", "The number of current pending requests for an open connection.", level, "",
		one(func(s *respool.Stats) int64 { return count(s.Waiting) })},

	{"respool.pool.sockets", "{socket}", "Sockets of the bound that are taken, by what they are used for.", level, attrKind, []reading{
		{"lane", func(s *respool.Stats) int64 { return count(s.Lanes) }},
		{"idle", func(s *respool.Stats) int64 { return count(s.Idle) }},
		{"dedicated", func(s *respool.Stats) int64 { return count(s.Dedicated) }},
		{"subscribed", func(s *respool.Stats) int64 { return count(s.Subscribed) }},
		{"dialing", func(s *respool.Stats) int64 { return count(s.Dialing) }},
		{"closing", func(s *respool.Stats) int64 { return count(s.Closing) }},
	}},
	{"respool.pool.replies_due", "{reply}", "Commands on the lanes whose reply has not come.", level, "",
		one(func(s *respool.Stats) int64 { return count(s.RepliesDue) })},
	{"respool.pool.dials", "{connection}", "Connections opened.", counter, "",
		one(func(s *respool.Stats) int64 { return total(s.Dials) })},
	{"respool.pool.dial_failures", "{dial}", "Dials and handshakes that failed.", counter, "",
		one(func(s *respool.Stats) int64 { return total(s.DialFailures) })},
	{"respool.pool.closed", "{connection}", "Connections closed on both sides.", counter, "",
		one(func(s *respool.Stats) int64 { return total(s.Closed) })},
	{"respool.pool.condemned", "{connection}", "Lanes that broke.", counter, "",
		one(func(s *respool.Stats) int64 { return total(s.Condemned) })},
	{"respool.pool.leaks", "{connection}", "Connections that were held for longer than the leak threshold.", counter, "",
		one(func(s *respool.Stats) int64 { return total(s.Leaks) })},
	{"respool.pool.waits", "{wait}", "Waits for a connection that did not end at once.", counter, "",
		one(func(s *respool.Stats) int64 { return total(s.Waits) })},
	{"respool.pool.waits_in_vain", "{wait}", "Waits that ended without a connection, except those that their callers canceled.", counter, "",
		one(func(s *respool.Stats) int64 { return total(s.WaitsInVain) })},
	{"respool.pool.refused", "{caller}", "Callers without a connection because the server refused their user, database or protocol.", counter, "",
		one(func(s *respool.Stats) int64 { return total(s.Refused) })},
}

// What a pool tells of itself, whatever its nodes are.
var (
	idleMin = measure{name: "db.client.connection.idle.min", unit: "{connection}",
		help: "The minimum number of idle open connections allowed.", form: level}
	timeouts = measure{name: "db.client.connection.timeouts", unit: "{timeout}",
		help: "The number of connection timeouts that have occurred trying to obtain a connection from the pool.", form: counter}
)

// timed says which time of an event is meant.
type timed int

const (
	created timed = iota
	waited
	used
	timedKinds
)

// times are told by a client's events.
var times = [timedKinds]measure{
	created: {name: "db.client.connection.create_time", unit: "s", help: "The time it took to create a new connection."},
	waited:  {name: "db.client.connection.wait_time", unit: "s", help: "The time it took to obtain an open connection from the pool."},
	used:    {name: "db.client.connection.use_time", unit: "s", help: "The time between borrowing a connection and returning it to the pool."},
}

// bounds are the upper ends of the histograms' buckets, in seconds.
func bounds() []float64 {
	return []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}
}

// promName is how Prometheus spells a name, by OpenTelemetry's rules.
func (m *measure) promName() string {
	name := label(m.name)
	if m.unit == "s" {
		name += "_seconds"
	}
	if m.form == counter {
		name += "_total"
	}
	return name
}

// label is how Prometheus spells an attribute.
func label(attr string) string { return strings.ReplaceAll(attr, ".", "_") }
