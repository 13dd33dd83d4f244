// Package report is the JSON form of a monitor's state, which the pages, top and
// doctor share. It computes nothing. It starts no goroutines.
package report

import (
	"time"

	"github.com/seed-2b0d76a6/respool/monitor"
)

// State is the body of /api/snapshot. Times are in seconds.
type State struct {
	At      time.Time `json:"at"`
	Service string    `json:"service,omitempty"`
	Error   string    `json:"error,omitempty"`
	Cluster *Cluster  `json:"cluster,omitempty"` // absent without a cluster, and while nothing is known about it
	Nodes   []Node    `json:"nodes"`
	Waits   *Waits    `json:"waits,omitempty"` // absent if the process sends no commands of clients
}

// Waits counts the blocking commands of a process that wait without a connection each. The counts of nodes do not
// include them, because servers do not see them.
type Waits struct {
	Waiting   int            `json:"waiting"`
	Keys      int            `json:"keys"`
	Commands  map[string]int `json:"commands,omitempty"`  // the waiting ones by name, without those at 0
	Dedicated string         `json:"dedicated,omitempty"` // why blocking commands hold connections instead
}

// Node is the state of one node.
type Node struct {
	Addr        string            `json:"addr"`
	Role        string            `json:"role"`
	Up          bool              `json:"up"`
	Full        bool              `json:"full"`
	Since       time.Time         `json:"since"`
	Error       string            `json:"error,omitempty"`
	Server      string            `json:"server,omitempty"`
	Connections *int64            `json:"connections,omitempty"` // absent if unknown
	MaxClients  int64             `json:"maxclients,omitempty"`  // absent if unknown
	Assumed     string            `json:"maxclients_assumed,omitempty"`
	Rates       *Rates            `json:"a_second,omitempty"`
	Forecast    *Forecast         `json:"forecast,omitempty"`
	NoForecast  string            `json:"no_forecast,omitempty"` // why there is none
	Restarts    int               `json:"restarts"`
	Refused     map[string]string `json:"not_asked,omitempty"`
	ListedAt    time.Time         `json:"services_at,omitzero"`
	Services    []Service         `json:"services,omitempty"`
}

// Rates are events per second.
type Rates struct {
	Opened   float64 `json:"opened"`
	Rejected float64 `json:"rejected"`
	Commands float64 `json:"commands"`
}

// Forecast is when the server will be full.
type Forecast struct {
	Rough           bool    `json:"rough"` // from the last two minutes only
	GrowthPerMinute float64 `json:"growth_per_minute"`
	FullIn          float64 `json:"full_in_s"`
	Earliest        float64 `json:"earliest_s"`
	Latest          float64 `json:"latest_s"`
	Seen            float64 `json:"seen_s"`
}

// Service counts the connections of one service. Blocked counts those that block on the server.
type Service struct {
	Name       string `json:"name"`
	Clients    int    `json:"connections"`
	Active     int    `json:"active"`
	Blocked    int    `json:"blocked"`
	Subscribed int    `json:"subscribed"`
	Idle       int    `json:"idle"`
	LongIdle   int    `json:"idle_10m"`
}

// OfState converts a monitor's state.
func OfState(st *monitor.State) State {
	r := State{At: st.At, Service: st.Service, Cluster: OfCluster(st), Nodes: []Node{}}
	if st.Err != nil {
		r.Error = st.Err.Error()
	}
	for i := range st.Nodes {
		r.Nodes = append(r.Nodes, OfNode(&st.Nodes[i]))
	}
	return r
}

// OfNode converts the state of one node.
func OfNode(n *monitor.NodeState) Node {
	r := Node{Addr: n.Addr, Role: n.Role, Up: n.Up, Full: n.Full, Since: n.Since, Restarts: n.Restarts, Refused: n.Refused}
	if n.Err != nil {
		r.Error = n.Err.Error()
	}
	if s := n.Last; s != nil {
		r.Server, r.MaxClients, r.Assumed = s.Info.Server(), s.MaxClients, s.Assumed
		if !s.Uncounted {
			r.Connections = &s.Connections
		}
	}
	if n.Rates.Known {
		r.Rates = &Rates{n.Rates.Opened, n.Rates.Rejected, n.Rates.Commands}
	}
	if f := n.Forecast; f.Exists {
		r.Forecast = &Forecast{f.Rough, f.Growth, f.In.Seconds(), f.Earliest.Seconds(), f.Latest.Seconds(), f.Seen.Seconds()}
	} else if n.Up && n.Last != nil {
		r.NoForecast = f.Missing.String()
	}
	if s := n.List; s != nil {
		r.ListedAt = s.At
		for _, g := range s.Clients.Sorted() {
			r.Services = append(r.Services, Service{g.Key[0], g.Clients, g.Active, g.Blocked, g.Subscribed, g.Idle, s.LongIdle[g.Key[0]]})
		}
	}
	return r
}
