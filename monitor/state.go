package monitor

import "time"

// State is the data of a sampler at one moment. It does not change, so concurrent use is safe.
type State struct {
	At      time.Time
	Service string      // name of the service at the sentinels, or of the cluster; empty: one server
	Err     error       // why the nodes are unknown; nil if they are known
	Nodes   []NodeState // the primaries first, then by address
	Cluster *ClusterMap // the best report of the nodes that answer; not Known if none does; nil: not a cluster
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

// Unreachable returns the addresses of the nodes that did not answer the last query.
func (s *State) Unreachable() (addrs []string) {
	for i := range s.Nodes {
		if n := &s.Nodes[i]; !n.Up && n.Err != nil {
			addrs = append(addrs, n.Addr)
		}
	}
	return addrs
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
	Earlier  *Snapshot         // the clients about a minute before List, of the same run; nil: none. It has At, Clients and By only
	Rates    Rates             // over the last five to ten seconds, or since the previous snapshot if that is longer
	Points   []Point           // history of this run of the server, oldest first; read-only
	Forecast Forecast          // of exhaustion
	Restarts int               // observed restarts
	churn    churn             // owners of short connections
	loads    [2]*Snapshot      // the last two, of the same run, with what commands cost; nil: none yet
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

// Forecast is the time until a server's connections reach maxclients, if their growth continues.
// Without a forecast, Missing is the reason.
type Forecast struct {
	Exists   bool
	Rough    bool          // from less than two minutes of samples, or from a change in the last two minutes
	Growth   float64       // connections a minute
	In       time.Duration // from the last point, at that rate
	Earliest time.Duration // at the highest rate in the 95% confidence interval
	Latest   time.Duration // at the lowest rate in it
	Seen     time.Duration // observed time
	Missing  NoForecast    // why there is none
}

// Trusted reports whether there is a forecast that may raise an alert. A rough forecast of a long
// time may not: a deployment also opens connections for a minute.
func (f *Forecast) Trusted() bool {
	return f.Exists && (!f.Rough || f.In.Seconds() <= roughTrusted*f.Seen.Seconds())
}

// NoForecast is the reason why there is no forecast.
type NoForecast int

// The reasons, in the order of the knowledge that they need.
const (
	noSamples  NoForecast = iota // less than 30 s
	noLimit                      // maxclients is unknown
	notGrowing                   // connections do not rise
	notSteady                    // they rise in steps, or no more than before
	tooFar                       // the time is too long to predict from the observed time
)

var noForecasts = []string{"too few samples yet", "limit unknown", "not growing", "not growing steadily", "growing too slowly to predict yet"}

// String returns the reason in words.
func (n NoForecast) String() string { return noForecasts[n] }
