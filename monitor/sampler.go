package monitor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-2b0d76a6/respool"
)

// SamplerConfig configures a sampler. The zero value of a field stands for its default.
type SamplerConfig struct {
	Options    respool.Options // a server, a service of Sentinel, or a cluster; without Client, the sampler uses one connection for each node, and one more for the primary of a service, independent of the pool options
	Client     *respool.Client // with the same Options: the sampler uses its connections, within its limits, and leaves it open; nil: its own connections
	Purpose    string          // part of the connections' name in CLIENT LIST, respool:<purpose>:<random>; default watch
	Every      time.Duration   // interval of INFO; default 5 s, at least 10 ms
	ListEvery  time.Duration   // interval of CLIENT LIST; default 60 s; respool.Never: never
	ListLimit  int64           // the sampler skips CLIENT LIST above this number of connections; default 5000; below 0: always
	MaxClients int64           // overrides the servers' limit; 0: the reported one
	Details    bool            // each snapshot with clients contains By and Details
	Load       bool            // read what commands cost at the interval of CLIENT LIST: INFO commandstats and SLOWLOG GET
	Split      bool            // split a large service without names: ProbeConfig.Split
	OnState    func(*State)    // receives each new state, on the sampler's goroutine: it must not block
}

// Defaults of a sampler.
const (
	DefaultEvery     = 5 * time.Second
	DefaultListEvery = time.Minute
	leastEvery       = 10 * time.Millisecond
)

// Sampler takes snapshots of servers at intervals, and keeps the last two hours in memory. Create
// it with NewSampler, and call Run.
type Sampler struct {
	cfg   SamplerConfig
	own   string
	state atomic.Pointer[State]

	mu      sync.Mutex
	clients map[string]*respool.Client // of the watched nodes
}

// NewSampler validates the configuration. It opens no connection.
func NewSampler(cfg SamplerConfig) (*Sampler, error) {
	cfg.Purpose = cmp.Or(cfg.Purpose, "watch")
	cfg.Every = cmp.Or(cfg.Every, DefaultEvery)
	cfg.ListEvery = cmp.Or(cfg.ListEvery, DefaultListEvery)
	cfg.ListLimit = cmp.Or(cfg.ListLimit, DefaultListLimit)
	switch {
	case cfg.Every < leastEvery:
		return nil, fmt.Errorf("monitor: Every is %v: want %v or more", cfg.Every, leastEvery)
	case cfg.ListEvery < cfg.Every:
		return nil, fmt.Errorf("monitor: ListEvery is %v: want Every (%v) or more", cfg.ListEvery, cfg.Every)
	case cfg.MaxClients < 0:
		return nil, fmt.Errorf("monitor: maxclients is %d: want 1 or more, or 0 for the limit that the servers report", cfg.MaxClients)
	}
	cfg.Options.MaxConnections, cfg.Options.Lanes, cfg.Options.MinIdle = 1, 1, 0
	s := &Sampler{cfg: cfg, own: fmt.Sprintf("respool:%s:%08x", cfg.Purpose, rand.Uint32()), clients: map[string]*respool.Client{}}
	s.cfg.Options.ClientName = s.own
	c, err := respool.New(s.cfg.Options) // validates the options; opens no connection
	if err != nil {
		return nil, err
	}
	_ = c.Close(context.Background())
	s.state.Store(&State{At: time.Now(), Service: placeName(&cfg.Options)})
	return s, nil
}

// State returns the last state; never nil. It is safe for concurrent use. The caller must not
// change it.
func (s *Sampler) State() *State { return s.state.Load() }

// Own returns the name of the sampler's own connections.
func (s *Sampler) Own() string { return s.own }

// Clients returns the clients whose connections the sampler uses, by the addresses of the nodes. They are for further queries
// while a server accepts no new connections. The sampler owns them: it closes them when it stops to watch a node, and the
// caller must not. The caller owns the map.
func (s *Sampler) Clients() map[string]*respool.Client {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.clients)
}

func (s *Sampler) setClient(addr string, c *respool.Client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c == nil {
		delete(s.clients, addr)
		return
	}
	s.clients[addr] = c
}

// Run takes snapshots until ctx ends, and returns after all its connections are closed. Call it
// once. It returns an error only if it could not start.
func (s *Sampler) Run(ctx context.Context) error {
	r := &sampling{s: s, ctx: ctx, states: make(chan NodeState), nodes: map[string]*watched{}}
	defer r.wg.Wait()
	tick := time.NewTicker(min(s.cfg.Every, time.Second))
	defer tick.Stop()
	dir, err := newDirectory(&s.cfg)
	if err != nil {
		return err
	}
	defer dir.close()
	r.wg.Go(func() { dir.run(ctx) })
	r.discover(dir)
	r.loop(dir, tick.C)
	return nil
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// sampling is one run of a sampler. The goroutine of Run owns it, except the nodes' goroutines.
type sampling struct {
	s      *Sampler
	ctx    context.Context
	wg     sync.WaitGroup
	states chan NodeState
	nodes  map[string]*watched
	err    error // why nodes are unknown
}

// watched is a monitored node.
type watched struct {
	state NodeState
	stop  context.CancelFunc
	gone  time.Time // when it left the service; zero: it belongs to the service
}

// begin starts to monitor a server.
func (r *sampling) begin(one Server, owned func() int64) error {
	if one.Err != nil {
		r.nodes[one.Addr] = &watched{state: NodeState{Addr: one.Addr, Since: time.Now(), Err: one.Err}, stop: func() {}}
		return nil
	}
	n, err := newNode(&r.s.cfg, &one, r.s.own, owned)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(r.ctx)
	n.state.Addr = one.Addr
	r.s.setClient(one.Addr, n.probe.Client())
	r.nodes[one.Addr] = &watched{state: n.state, stop: cancel}
	r.wg.Go(func() { n.watch(ctx, r.states) })
	return nil
}

// loop receives the states of the nodes, and follows the servers of the directory at each tick. While a
// snapshot hangs, it publishes the last state again, because rules depend on time.
func (r *sampling) loop(dir directory, tick <-chan time.Time) {
	began := time.Now()
	for {
		select {
		case <-r.ctx.Done():
			for _, w := range r.nodes {
				w.stop()
			}
			return
		case state := <-r.states:
			if w := r.nodes[state.Addr]; w != nil {
				w.state = state
				r.publish()
			}
		case <-tick:
			changed := r.discover(dir)
			if len(r.nodes) == 0 && time.Since(began) < searchTime {
				continue // the search has only begun
			}
			if changed || time.Since(r.s.State().At) >= max(r.s.cfg.Every, time.Second) {
				r.publish()
			}
		}
	}
}

// searchTime is the time after which the sampler reports that no nodes are known.
const searchTime = 2 * time.Second

// goneFor is how long a node stays monitored after it is no longer listed. Sentinels omit a
// node for a moment when roles change.
const goneFor = time.Minute

// discover updates the monitored nodes, and reports whether they changed.
func (r *sampling) discover(dir directory) (changed bool) {
	list, err := dir.servers(r.cluster())
	changed = (r.err == nil) != (err == nil)
	r.err = err
	there := map[string]bool{}
	for _, one := range list {
		there[one.Addr] = true
		if r.nodes[one.Addr] != nil {
			continue
		}
		if err := r.begin(one, func() int64 { return 1 + dir.owned(one.Addr) }); err != nil {
			r.err = errors.Join(r.err, err)
		}
		changed = true
	}
	for addr, w := range r.nodes {
		switch {
		case there[addr]:
			w.gone = time.Time{}
		case w.gone.IsZero():
			w.gone = time.Now()
		case time.Since(w.gone) > goneFor:
			w.stop()
			delete(r.nodes, addr)
			r.s.setClient(addr, nil)
			changed = true
		}
	}
	return changed
}

// cluster returns the best report about the cluster of the nodes that answer; nil: not a cluster.
func (r *sampling) cluster() *ClusterMap {
	if r.s.cfg.Options.Cluster == nil {
		return nil
	}
	best := &ClusterMap{}
	for _, addr := range slices.Sorted(maps.Keys(r.nodes)) { // in the same order each time, for equal reports
		if st := &r.nodes[addr].state; st.Up && st.Last != nil {
			best = best.Better(st.Last.Cluster)
		}
	}
	return best
}

// publish stores a new state and passes it to OnState.
func (r *sampling) publish() {
	st := &State{At: time.Now(), Service: placeName(&r.s.cfg.Options), Err: r.err, Cluster: r.cluster()}
	for _, w := range r.nodes {
		st.Nodes = append(st.Nodes, w.state)
	}
	slices.SortFunc(st.Nodes, func(a, b NodeState) int {
		return cmp.Or(strings.Compare(rank(&a), rank(&b)), strings.Compare(a.Addr, b.Addr))
	})
	r.s.state.Store(st)
	if r.s.cfg.OnState != nil {
		r.s.cfg.OnState(st)
	}
}

// rank sorts primaries before replicas, and nodes that answer before others.
func rank(n *NodeState) string {
	switch {
	case n.Up && n.Role == "primary":
		return "0"
	case n.Up:
		return "1"
	}
	return "2"
}
