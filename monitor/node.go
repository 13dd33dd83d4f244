package monitor

import (
	"context"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/pool"
)

// node takes snapshots of one server at intervals, and keeps their history. It belongs to one
// goroutine.
type node struct {
	cfg     *SamplerConfig
	probe   *Probe
	owned   func() int64 // number of the sampler's own connections to it
	history *history
	points  []Point     // the list of history at its last change
	trend   Forecast    // of points
	lists   []*Snapshot // the clients of the last minute, oldest first; see NodeState.Earlier
	listed  time.Time
	loaded  time.Time    // what commands cost was read
	anchors [2]*Snapshot // start points of rates; with two, the older one is at least one span old
	state   NodeState
}

func newNode(cfg *SamplerConfig, one *Server, own string, owned func() int64) (*node, error) {
	with := ProbeConfig{Options: one.Options, MaxClients: cfg.MaxClients, ListLimit: cfg.ListLimit, Details: cfg.Details, Split: cfg.Split}
	if c := cfg.Options.Cluster; c != nil {
		with.Cluster, with.MapAddr = true, c.MapAddr
	}
	var probe *Probe
	switch {
	case cfg.Client != nil && cfg.Options.Sentinel == nil && cfg.Options.Cluster == nil:
		probe = sharedProbe(with, cfg.Client)
	case cfg.Client != nil:
		probe = sharedProbe(with, one.nodeOf(cfg.Client))
		probe.owned = true
	default:
		var err error
		if probe, err = newProbe(with, own); err != nil {
			return nil, err
		}
	}
	return &node{cfg: cfg, probe: probe, owned: owned, history: newHistory(cfg.Every),
		state: NodeState{Addr: one.Options.Addr, Since: time.Now()}}, nil
}

// watch takes snapshots until ctx ends, sends each state to states, and closes the connection.
func (n *node) watch(ctx context.Context, states chan<- NodeState) {
	tick := time.NewTicker(n.cfg.Every)
	defer tick.Stop()
	for ctx.Err() == nil {
		n.look(ctx)
		select {
		case states <- n.state:
		case <-ctx.Done():
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	closing, cancel := context.WithTimeout(context.Background(), closeLimit)
	defer cancel()
	_ = n.probe.Close(closing) // an error means only that the close was cut
}

// closeLimit limits the close of a connection.
const closeLimit = 2 * time.Second

// lookLimit limits one snapshot.
const lookLimit = 5 * time.Second

func (n *node) look(ctx context.Context) {
	load := n.cfg.Load && time.Since(n.loaded) >= n.loadEvery()
	clients := n.cfg.ListEvery != respool.Never && (load || time.Since(n.listed) >= n.listEvery())
	bounded, cancel := context.WithTimeout(pool.Observe(ctx), lookLimit) // the callers of a shared client are others
	defer cancel()
	snap, err := n.probe.look(bounded, clients, n.owned())
	if err == nil && load {
		err = n.probe.addLoad(bounded, snap)
	}
	n.state.Refused = n.probe.Refused()
	if up := err == nil; up != n.state.Up || n.state.Last == nil && n.state.Err == nil {
		n.state.Up, n.state.Since = up, time.Now()
	}
	n.state.Err, n.state.Full = err, IsFull(err)
	if err != nil {
		return
	}
	if load {
		n.loaded = snap.At
	}
	if clients {
		n.listed = snap.At
		if snap.Clients == nil { // CLIENT LIST is no longer available: ignore the old list
			n.state.Before, n.state.List, n.state.Earlier, n.state.churn, n.lists = nil, nil, nil, nil, nil
		}
	}
	n.take(snap)
}

// listEvery returns the interval of the client lists. It is shorter for a small server while many
// connections are opened.
func (n *node) listEvery() time.Duration {
	if n.state.Rates.stormy() && n.state.Last.Connections <= closerLimit {
		return max(n.cfg.ListEvery/closerLooks, n.cfg.Every)
	}
	return n.cfg.ListEvery
}

// loadEvery returns the interval at which the costs of commands are read.
func (n *node) loadEvery() time.Duration {
	if n.cfg.ListEvery == respool.Never {
		return max(DefaultListEvery, n.cfg.Every)
	}
	return n.cfg.ListEvery
}

const (
	closerLooks = 12   // client lists instead of one
	closerLimit = 1000 // connections: a client list costs the server about 2 ms at this size
)

// take stores a snapshot.
func (n *node) take(snap *Snapshot) {
	s := &n.state
	if before := s.Last; before != nil && !before.SameRun(snap) {
		s.Restarts++
		s.Before, s.List, s.Earlier, s.churn, n.lists, s.loads = nil, nil, nil, nil, nil, [2]*Snapshot{}
		n.history, n.points, n.trend, s.Forecast = newHistory(n.cfg.Every), nil, Forecast{}, Forecast{}
		s.Rates, n.anchors = Rates{}, [2]*Snapshot{}
	}
	s.Rates = n.rates(snap)
	s.Role = snap.Role()
	s.Last = snap
	if snap.Clients != nil {
		if s.List != nil {
			s.churn = s.churn.between(s.List, snap)
		}
		s.Before, s.List = s.List, snap
		s.Earlier = n.earlier(snap)
	}
	if snap.load != nil {
		s.loads = [2]*Snapshot{s.loads[1], snap}
	}
	blocked, _ := snap.Info.Int("blocked_clients")
	if !snap.Uncounted {
		if n.history.add(Point{At: snap.At, Connections: snap.Connections, MaxClients: snap.MaxClients, Blocked: blocked, Rates: s.Rates}) {
			n.points = n.history.list()
			n.trend = forecast(n.points)
		}
		s.Forecast = n.trend
		if !n.trend.Exists {
			s.Forecast = roughForecast(n.history.recent, n.points)
			s.Forecast.Missing = max(s.Forecast.Missing, n.trend.Missing)
		}
	}
	s.Points = n.points
}

// earlierBy is the time between List and Earlier, if there are lists that old.
const earlierBy = time.Minute

// earlier adds the clients of a snapshot, and returns those of about a minute before.
func (n *node) earlier(snap *Snapshot) (before *Snapshot) {
	for len(n.lists) > 1 && snap.At.Sub(n.lists[1].At) >= earlierBy {
		n.lists = n.lists[1:]
	}
	if len(n.lists) > 0 {
		before = n.lists[0]
	}
	n.lists = append(n.lists, &Snapshot{At: snap.At, Clients: snap.Clients, By: snap.By})
	return before
}

// mostRateSpan is the approximate time over which rates are measured. Rates over shorter times are
// random.
const mostRateSpan = 5 * time.Second

// rates returns the rates over one to two spans.
func (n *node) rates(now *Snapshot) Rates {
	span := max(min(mostRateSpan, 10*n.cfg.Every), n.cfg.Every)
	if last := n.anchors[1]; last == nil || now.At.Sub(last.At) >= span {
		n.anchors[0], n.anchors[1] = last, now
	}
	switch from := n.anchors[0]; {
	case from != nil:
		return RatesBetween(from, now)
	case n.anchors[1] != now:
		return RatesBetween(n.anchors[1], now)
	}
	return Rates{}
}

// RatesBetween returns the rates between two snapshots of a server.
func RatesBetween(before, after *Snapshot) (r Rates) {
	opened, ok1 := after.Rate(before, "total_connections_received")
	rejected, ok2 := after.Rate(before, "rejected_connections")
	commands, ok3 := after.Rate(before, "total_commands_processed")
	return Rates{ok1 && ok2 && ok3, opened, rejected, commands}
}
