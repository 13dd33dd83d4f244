package monitor

import "time"

// State is the data of a sampler at one moment. It does not change, so concurrent use is safe.
type State struct {
	At      time.Time
	Service string      // name of the service at the sentinels; empty: one server
	Err     error       // why the sentinels report no nodes; nil if they do
	Nodes   []NodeState // the primary first, then by address
}

// Node returns the state of a node by its address, or nil.
func (s *State) Node(addr string) *NodeState {
	for i := range s.Nodes {
		if s.Nodes[i].Addr == addr {
			return &s.Nodes[i]
		}
	}
	return nil
}

// NodeState is the data of one server.
type NodeState struct {
	Addr  string
	Role  string    // last reported role, primary or replica; empty: it never answered
	Up    bool      // the last query was answered
	Since time.Time // when Up changed
	Err   error     // why the last query failed; nil if it succeeded
	Full  bool      // not Up because maxclients is reached

	Last     *Snapshot         // the last snapshot; nil: none yet
	List     *Snapshot         // the last snapshot with clients; nil: none yet
	Before   *Snapshot         // the previous snapshot with clients, of the same run; nil: none
	Rates    Rates             // over the last five to ten seconds, or since the previous snapshot if that is longer
	Points   []Point           // history of this run of the server, oldest first; read-only
	Forecast Forecast          // of exhaustion
	Restarts int               // observed restarts
	churn    churn             // owners of short connections
	Refused  map[string]string // commands that the server refuses, such as CONFIG GET, with the reasons
}

// Rates are the increases per second of a server's counters. Known is false if a counter is not
// reported or was reset.
type Rates struct {
	Known    bool
	Opened   float64 // connections
	Rejected float64 // connections
	Commands float64
}

// Point is one moment of a node's history.
type Point struct {
	At          time.Time
	Connections int64
	MaxClients  int64 // 0: unknown
	Blocked     int64
	Rates       Rates
}

// Forecast is the time until a server's connections reach maxclients, if their growth continues. It
// is zero if they do not grow steadily, if the limit is unknown, or if that time is too long to
// predict from the observed data.
type Forecast struct {
	Exists   bool
	Growth   float64       // connections a minute
	In       time.Duration // from the last point, at that rate
	Earliest time.Duration // at the highest rate in the 95% confidence interval
	Latest   time.Duration // at the lowest rate in it
	Seen     time.Duration // observed time
}
