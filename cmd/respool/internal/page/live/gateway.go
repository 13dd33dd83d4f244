package live

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/report"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/summary"
	"github.com/seed-2b0d76a6/respool/monitor"
)

// GatewayStats is a gateway at one moment. Counters begin with its start.
type GatewayStats struct {
	URL        string // where clients connect, for commands
	Status     string // ok, stopping or waiting
	Error      string // why it waits
	Paused     []string
	MaxClients int
	Clients    int
	Blocked    int // in blocking commands
	Subscribed int
	Pinned     int
	PinnedBy   map[string]int // by the command that needs a dedicated connection
	Accepted   uint64
	Refused    uint64
	SlowClosed uint64
	Commands   uint64
	Buffered   int64
	Queue      Latency
	Server     Latency
	Pools      []Pool
	Waits      *report.Waits
	List       func() string // the clients, as CLIENT LIST
}

// Latency is the number and the sum of durations.
type Latency struct {
	Count uint64
	Sum   time.Duration
}

// Pool is the connections of a gateway to one server.
type Pool struct {
	Addr       string `json:"addr"`
	Sockets    int    `json:"sockets"`
	Limit      int    `json:"limit"`
	Lanes      int    `json:"lanes"`
	Dedicated  int    `json:"dedicated"`
	Idle       int    `json:"idle"`
	Subscribed int    `json:"subscribed"`
	Dialing    int    `json:"dialing"`
	Closing    int    `json:"closing"`
	Waiting    int    `json:"waiting"` // callers
	RepliesDue int    `json:"replies_due"`
	DialError  string `json:"dial_error,omitempty"`
}

// GatewayNode is the address of the clients of a gateway among the nodes.
const GatewayNode = "gateway"

// gatewayListEvery is the longest interval of the lists of a gateway's clients. They cost the server nothing.
const gatewayListEvery = 10 * time.Second

// gatewayEvery returns the interval of the lists of a gateway's clients. listEvery is that of the server's, or below 0: never.
func gatewayEvery(every, listEvery time.Duration) time.Duration {
	if listEvery <= 0 {
		listEvery = gatewayListEvery
	}
	return max(every, min(listEvery, gatewayListEvery))
}

// gatewayWatch follows the clients of a gateway, as a sampler follows those of a server.
type gatewayWatch struct {
	read func() GatewayStats

	mu     sync.Mutex
	last   GatewayStats
	at     time.Time       // of last
	starts [2]gatewayStart // of rates, the older one first: it is at least rateSpan old, or the only one
	seen   monitor.NodeState
	lists  []*monitor.Snapshot // of the last minute, oldest first, at least gatewayListEvery apart

	listing  sync.Mutex
	list     string // of the clients, for requests of tabs
	listedAt time.Time
}

// gatewayStart is a gateway at an earlier moment.
type gatewayStart struct {
	GatewayStats
	at time.Time
}

// rateSpan is the least time over which rates and mean times are measured.
const rateSpan = 2 * time.Second

// look reads the gateway, and at intervals the list of its clients.
func (g *gatewayWatch) look(at time.Time, every, listEvery time.Duration) {
	g.forget(listFresh)
	s := g.read()
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.at.IsZero() {
		g.starts = [2]gatewayStart{{s, at}, {s, at}}
		g.seen = monitor.NodeState{Addr: GatewayNode, Role: "gateway", Since: at}
	}
	if at.Sub(g.starts[1].at) >= max(rateSpan, every) {
		g.starts = [2]gatewayStart{g.starts[1], {s, at}}
	}
	if from := &g.starts[0]; at.After(from.at) {
		took := at.Sub(from.at).Seconds()
		g.seen.Rates = monitor.Rates{Known: true, Opened: rate(from.Accepted, s.Accepted, took), Rejected: rate(from.Refused, s.Refused, took),
			Commands: rate(from.Commands, s.Commands, took)}
	}
	g.last, g.at = s, at
	g.seen.Up = true
	g.seen.Last = &monitor.Snapshot{At: at, MaxClients: int64(s.MaxClients), Connections: int64(s.Clients)}
	if g.seen.List != nil && at.Sub(g.seen.List.At) < gatewayEvery(every, listEvery) {
		return
	}
	list, err := monitor.NewSnapshot(monitor.Source{At: at, List: strings.NewReader(s.List()), Owned: monitor.NoneOwned, Limit: int64(s.MaxClients), Detail: true, Here: true})
	if err != nil {
		return // a reader of a string does not fail
	}
	for len(g.lists) > 1 && at.Sub(g.lists[1].At) >= time.Minute {
		g.lists = g.lists[1:]
	}
	if len(g.lists) > 0 {
		g.seen.Before, g.seen.Earlier = g.seen.List, g.lists[0]
	}
	if n := len(g.lists); n == 0 || at.Sub(g.lists[n-1].At) >= gatewayListEvery {
		g.lists = append(g.lists, list)
	}
	g.seen.List = list
}

// listFresh is the time for which requests of tabs share a list of a gateway's clients.
const listFresh = time.Second

// clients lists the clients, at most once in listFresh.
func (g *gatewayWatch) clients(now time.Time) string {
	g.listing.Lock()
	defer g.listing.Unlock()
	if now.Sub(g.listedAt) >= listFresh {
		g.list, g.listedAt = g.read().List(), now
	}
	return g.list
}

// forget drops the list that requests share, if it has this age.
func (g *gatewayWatch) forget(age time.Duration) {
	g.listing.Lock()
	defer g.listing.Unlock()
	if time.Since(g.listedAt) >= age {
		g.list, g.listedAt = "", time.Time{}
	}
}

// rate is the increase of a counter in a second.
func rate(before, now uint64, seconds float64) float64 {
	return float64(now-min(before, now)) / seconds
}

// node returns the clients as the connections of a node.
func (g *gatewayWatch) node() *monitor.NodeState {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := g.seen
	n.Addr = GatewayNode
	return &n
}

func (g *gatewayWatch) stats() GatewayStats {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.last
}

// picture is the way of commands: clients, connections, server.
type picture struct {
	Level      level         `json:"level"`
	Status     string        `json:"status"`
	Paused     []string      `json:"paused"`
	URL        string        `json:"url"`
	Clients    int           `json:"clients"`
	MaxClients int           `json:"max_clients"`
	Blocked    int           `json:"blocked"`
	Subscribed int           `json:"subscribed"`
	Pinned     int           `json:"pinned"`
	PinnedBy   []count       `json:"pinned_by"`
	Commands   string        `json:"commands"` // a second
	Refused    uint64        `json:"refused"`
	SlowClosed uint64        `json:"slow_closed"`
	Queue      string        `json:"queue"`  // mean time
	Server     string        `json:"server"` // mean time
	Pools      []Pool        `json:"pools"`
	Waits      *report.Waits `json:"waits,omitempty"`
	WaitsOf    []count       `json:"waits_of"`
}

func (b *builder) picture() *picture {
	if b.gateway == nil {
		return nil
	}
	g := b.gateway
	g.mu.Lock()
	defer g.mu.Unlock()
	s := &g.last
	p := &picture{Level: fine, Status: "serves clients", Paused: append([]string{}, s.Paused...), URL: s.URL, Clients: s.Clients, MaxClients: s.MaxClients,
		Blocked: s.Blocked, Subscribed: s.Subscribed, Pinned: s.Pinned, PinnedBy: countsOf(s.PinnedBy), Commands: "unknown", Refused: s.Refused, SlowClosed: s.SlowClosed,
		Queue: mean(s.Queue, g.starts[0].Queue), Server: mean(s.Server, g.starts[0].Server), Pools: slices.Clone(s.Pools), Waits: s.Waits, WaitsOf: []count{}}
	if g.seen.Rates.Known {
		p.Commands = summary.Rate(g.seen.Rates.Commands)
	}
	if s.Waits != nil {
		p.WaitsOf = countsOf(s.Waits.Commands)
	}
	if p.Pools == nil {
		p.Pools = []Pool{}
	}
	switch {
	case g.at.IsZero():
		p.Level, p.Status = unknown, "not read yet"
	case s.Status != "ok":
		p.Level, p.Status = critical, s.Status
		if s.Error != "" {
			p.Status += ": " + s.Error
		}
	case len(s.Paused) > 0:
		p.Level, p.Status = warning, "paused"
	}
	for i := range p.Pools {
		if p.Pools[i].Waiting > 0 {
			p.Level = worse(p.Level, warning)
		}
	}
	return p
}

// countsOf sorts counts, the largest first.
func countsOf(m map[string]int) []count {
	list := []count{}
	for name, n := range m {
		list = append(list, count{cell(name), n})
	}
	slices.SortFunc(list, func(a, b count) int { return cmp.Or(cmp.Compare(b.N, a.N), cmp.Compare(a.Name, b.Name)) })
	return list
}

// mean is the mean of the durations since an earlier moment.
func mean(now, before Latency) string {
	n := now.Count - min(before.Count, now.Count)
	if n == 0 {
		return "none lately"
	}
	return (max(0, now.Sum-before.Sum) / time.Duration(n)).Round(time.Microsecond).String()
}
