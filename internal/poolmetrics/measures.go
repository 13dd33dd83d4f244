package poolmetrics

import "github.com/seed-2b0d76a6/respool"

// The attributes of pools, with the names of OpenTelemetry.
const (
	AttrPool    = "db.client.connection.pool.name"
	AttrSystem  = "db.system.name"
	attrState   = "db.client.connection.state"
	attrKind    = "respool.pool.kind"
	attrEnd     = "respool.pool.end"
	AttrServer  = "server.address"
	AttrPort    = "server.port"
	AttrCommand = "db.operation.name"

	System = "redis" // value of AttrSystem
)

// Form is the kind of a measure.
type Form int

const (
	Level   Form = iota // increases and decreases; may be summed
	Counter             // only increases
	Highest             // the highest value so far, in nanoseconds; exported in seconds
)

// Measure describes a metric of a pool.
type Measure struct {
	Name string // name in OpenTelemetry
	Unit string // unit in UCUM
	Help string
	Form Form
	Attr string // attribute that distinguishes the readings; empty: one reading
}

// Source is a measure with its readings. It reads them from a T.
type Source[T any] struct {
	Measure
	Readings []Reading[T]
}

// Reading is one number of a measure.
type Reading[T any] struct {
	Value string // value of the attribute
	Of    func(*T) int64
}

func one[T any](of func(*T) int64) []Reading[T] { return []Reading[T]{{Of: of}} }

func count(n int) int64 { return int64(n) }

func total(n uint64) int64 { return int64(n) }

func flag(set bool) int64 {
	if set {
		return 1
	}
	return 0
}

// Nodes returns the measures of each node of a client. The caller must not change them.
func Nodes() []Source[respool.Stats] { return nodes }

var nodes = []Source[respool.Stats]{
	{Measure{"db.client.connection.count", "{connection}", "The number of connections that are currently in state described by the `state` attribute.", Level, attrState}, []Reading[respool.Stats]{
		{"idle", func(s *respool.Stats) int64 { return count(s.Idle) }},
		{"used", func(s *respool.Stats) int64 { return count(s.Lanes + s.Dedicated + s.Subscribed) }},
		{"dialing", func(s *respool.Stats) int64 { return count(s.Dialing) }},
		{"closing", func(s *respool.Stats) int64 { return count(s.Closing) }},
	}},
	{Measure{"db.client.connection.max", "{connection}", "The maximum number of open connections allowed.", Level, ""},
		one(func(s *respool.Stats) int64 { return count(s.MaxConnections) })},
	// Only MaxConnections limits the idle connections.
	{Measure{"db.client.connection.idle.max", "{connection}", "The maximum number of idle open connections allowed.", Level, ""},
		one(func(s *respool.Stats) int64 { return count(s.MaxConnections) })},
	{Measure{"db.client.connection.pending_requests", "{request}", "The number of current pending requests for an open connection.", Level, ""},
		one(func(s *respool.Stats) int64 { return count(s.Waiting) })},

	{Measure{"respool.pool.sockets", "{socket}", "Sockets that count against the limit, by use.", Level, attrKind}, []Reading[respool.Stats]{
		{"lane", func(s *respool.Stats) int64 { return count(s.Lanes) }},
		{"idle", func(s *respool.Stats) int64 { return count(s.Idle) }},
		{"dedicated", func(s *respool.Stats) int64 { return count(s.Dedicated) }},
		{"subscribed", func(s *respool.Stats) int64 { return count(s.Subscribed) }},
		{"dialing", func(s *respool.Stats) int64 { return count(s.Dialing) }},
		{"closing", func(s *respool.Stats) int64 { return count(s.Closing) }},
	}},
	{Measure{"respool.pool.replies_due", "{reply}", "Commands on lanes that wait for their reply.", Level, ""},
		one(func(s *respool.Stats) int64 { return count(s.RepliesDue) })},
	{Measure{"respool.pool.dials", "{connection}", "Connections opened.", Counter, ""},
		one(func(s *respool.Stats) int64 { return total(s.Dials) })},
	{Measure{"respool.pool.dial_failures", "{dial}", "Dials and handshakes that failed.", Counter, ""},
		one(func(s *respool.Stats) int64 { return total(s.DialFailures) })},
	{Measure{"respool.pool.closed", "{connection}", "Connections closed on both sides.", Counter, ""},
		one(func(s *respool.Stats) int64 { return total(s.Closed) })},
	{Measure{"respool.pool.condemned", "{connection}", "Lanes that failed.", Counter, ""},
		one(func(s *respool.Stats) int64 { return total(s.FailedLanes) })},
	{Measure{"respool.pool.leaks", "{connection}", "Connections that were held for longer than the leak threshold.", Counter, ""},
		one(func(s *respool.Stats) int64 { return total(s.Leaks) })},
	{Measure{"respool.pool.waits", "{wait}", "Waits for a connection that did not end at once.", Counter, ""},
		one(func(s *respool.Stats) int64 { return total(s.Waits) })},
	{Measure{"respool.pool.waits_in_vain", "{wait}", "Waits that ended without a connection, except those that their callers canceled.", Counter, ""},
		one(func(s *respool.Stats) int64 { return total(s.FailedWaits) })},
	{Measure{"respool.pool.refused", "{caller}", "Callers without a connection because the server refused their user, database or protocol.", Counter, ""},
		one(func(s *respool.Stats) int64 { return total(s.Refused) })},
}

// IdleMin is the measure of a pool's minimum of idle connections. It has no
// readings: the number is Pool.MinIdle.
func IdleMin() Measure {
	return Measure{Name: "db.client.connection.idle.min", Unit: "{connection}",
		Help: "The minimum number of idle open connections allowed.", Form: Level}
}

// Timeouts is the measure of callers whose wait failed. It has no readings: the number is
// Pool.Timeouts.
func Timeouts() Measure {
	return Measure{Name: "db.client.connection.timeouts", Unit: "{timeout}",
		Help: "The number of connection timeouts that have occurred trying to obtain a connection from the pool.", Form: Counter}
}

// Time is a kind of duration that events report.
type Time int

const (
	Created Time = iota // a dial and its handshake
	Waited              // a successful wait for a connection
	Used                // the lease of a dedicated connection
	TimeKinds
)

// Times returns the measures of the durations, indexed by Time. They have no readings: a Recorder
// receives the durations.
func Times() [TimeKinds]Measure {
	return [TimeKinds]Measure{
		Created: {Name: "db.client.connection.create_time", Unit: "s", Help: "The time it took to create a new connection."},
		Waited:  {Name: "db.client.connection.wait_time", Unit: "s", Help: "The time it took to obtain an open connection from the pool."},
		Used:    {Name: "db.client.connection.use_time", Unit: "s", Help: "The time between borrowing a connection and returning it to the pool."},
	}
}

// Bounds returns the upper bounds of the histograms' buckets, in seconds. The caller owns the list.
func Bounds() []float64 {
	return []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}
}
