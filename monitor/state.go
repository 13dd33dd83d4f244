package monitor

import "time"

// State is what a sampler knows at one moment. It is not changed.
type State struct {
	At      time.Time
	Service string      // the name that sentinels know; empty: one server
	Err     error       // why the sentinels tell no nodes; nil if they do
	Nodes   []NodeState // the primary first, then by address
}

// Node gives a node's state by its address, or nil.
func (s *State) Node(addr string) *NodeState {
	for i := range s.Nodes {
		if s.Nodes[i].Addr == addr {
			return &s.Nodes[i]
		}
	}
	return nil
}

// NodeState is what is known of one server.
type NodeState struct {
	Addr  string
	Role  string    // primary or replica, as the server said last; empty: it never answered
	Up    bool      // whether the last question was answered
	Since time.Time // since when Up is as it is
	Err   error     // why the last question was not answered; nil if it was
	Full  bool      // it is not Up because maxclients is reached

	Last     *Snapshot         // the last one; nil: none yet
	List     *Snapshot         // the last one with clients; nil: none yet
	Before   *Snapshot         // the one with clients before that, of the same run; nil: none
	Rates    Rates             // over the last five to ten seconds, or from the look before, if that is longer ago
	Points   []Point           // the history of this run of the server, oldest first; not to be changed
	Forecast Forecast          // of exhaustion
	Restarts int               // seen so far
	churn    churn             // who opens short connections
	Refused  map[string]string // what the server does not let us ask, such as CONFIG GET, and why
}

// Rates are by how much a server's counters grew a second. A counter that is
// not told, or that began anew, has none: Known is false for all of them then.
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
	MaxClients  int64 // 0: not known
	Blocked     int64
	Rates       Rates
}

// Forecast is when a server's connections reach maxclients, if they go on as
// they do. There is none where they do not grow steadily, where the limit is
// not known, or where it is too far off to be told from what was seen.
type Forecast struct {
	Exists   bool
	Growth   float64       // connections a minute
	In       time.Duration // from the last point on, at that rate
	Earliest time.Duration // at the fastest rate that what was seen allows (19 times of 20)
	Latest   time.Duration // at the slowest one
	Seen     time.Duration // how long a time it rests on
}
