package monitor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-2b0d76a6/respool"
)

// SamplerConfig says what a sampler looks at, and how often. The zero value of
// a field stands for its default.
type SamplerConfig struct {
	Options    respool.Options // where: a server, or a service of Sentinel; one connection is used for each node, and one more for a service's primary, whatever the pool settings say
	Purpose    string          // what the connections are called in CLIENT LIST, respool:<purpose>:<random>; default watch
	Every      time.Duration   // between two looks at INFO; default 5 s, at least 10 ms
	ListEvery  time.Duration   // between two looks at CLIENT LIST; default 60 s; respool.Never: not at all
	ListLimit  int64           // of connections, above which CLIENT LIST is not asked for; default 5000; below 0: none
	MaxClients int64           // the servers' limit, where somebody knows better; 0: what they tell
	OnState    func(*State)    // is told of each new state, on the sampler's goroutine: it should not block
}

// Defaults of a sampler.
const (
	DefaultEvery     = 5 * time.Second
	DefaultListEvery = time.Minute
	leastEvery       = 10 * time.Millisecond
)

// Sampler looks at servers again and again, and keeps the last two hours in
// memory. Make it with NewSampler, and run it.
type Sampler struct {
	cfg   SamplerConfig
	own   string
	state atomic.Pointer[State]
}

// NewSampler checks everything and opens no connection.
func NewSampler(cfg SamplerConfig) (*Sampler, error) {
	cfg.Purpose = cmp.Or(cfg.Purpose, "watch")
	cfg.Every = cmp.Or(cfg.Every, DefaultEvery)
	cfg.ListEvery = cmp.Or(cfg.ListEvery, DefaultListEvery)
	cfg.ListLimit = cmp.Or(cfg.ListLimit, defaultListLimit)
	switch {
	case cfg.Every < leastEvery:
		return nil, fmt.Errorf("monitor: %v between looks: want %v or more", cfg.Every, leastEvery)
	case cfg.ListEvery < cfg.Every:
		return nil, fmt.Errorf("monitor: %v between looks at the clients: want as long as between looks (%v) or longer", cfg.ListEvery, cfg.Every)
	case cfg.MaxClients < 0:
		return nil, fmt.Errorf("monitor: maxclients is %d: want 1 or more, or 0 for what the servers tell", cfg.MaxClients)
	}
	cfg.Options.MaxConnections, cfg.Options.Lanes, cfg.Options.MinIdle = 1, 1, 0
	s := &Sampler{cfg: cfg, own: fmt.Sprintf("respool:%s:%08x", cfg.Purpose, rand.Uint32())}
	s.cfg.Options.ClientName = s.own
	c, err := respool.New(s.cfg.Options) // checks the options; it opens nothing
	if err != nil {
		return nil, err
	}
	_ = c.Close(context.Background())
	s.state.Store(&State{At: time.Now(), Service: cfg.Options.Service})
	return s, nil
}

// State is the last one; never nil. It is safe for concurrent use.
func (s *Sampler) State() *State { return s.state.Load() }

// Own is the name of the sampler's connections.
func (s *Sampler) Own() string { return s.own }

// Run looks until ctx ends, and returns when all its connections are closed.
// It may be called once. It returns an error only where nothing was looked at.
func (s *Sampler) Run(ctx context.Context) error {
	r := &sampling{s: s, ctx: ctx, told: make(chan NodeState), nodes: map[string]*watched{}}
	defer r.wg.Wait()
	tick := time.NewTicker(min(s.cfg.Every, time.Second))
	defer tick.Stop()
	if s.cfg.Options.Sentinel == nil {
		addr := cmp.Or(s.cfg.Options.Addr, "localhost:6379")
		if err := r.begin(addr, func() int64 { return 1 }); err != nil {
			return err
		}
		r.loop(nil, tick.C)
		return nil
	}
	c, err := respool.New(s.cfg.Options)
	if err != nil {
		return err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.Background(), closeLimit)
		defer cancel()
		_ = c.Close(closing)
	}()
	// Warming again and again keeps the search for the nodes going, and its error at hand.
	r.wg.Go(func() {
		for ctx.Err() == nil {
			_ = c.Warm(ctx)
			pause(ctx, max(s.cfg.Every, time.Second))
		}
	})
	r.loop(c, tick.C)
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

// sampling is a run of a sampler. All of it but the nodes' goroutines belongs
// to the one of Run.
type sampling struct {
	s     *Sampler
	ctx   context.Context
	wg    sync.WaitGroup
	told  chan NodeState
	nodes map[string]*watched
	err   error // why the sentinels tell no nodes
}

// watched is a node that is looked at.
type watched struct {
	state NodeState
	stop  context.CancelFunc
	gone  time.Time // since when it is not one of the service's; zero: it is
}

// begin looks at a node from now on.
func (r *sampling) begin(addr string, owned func() int64) error {
	n, err := newNode(&r.s.cfg, addr, r.s.cfg.Options, r.s.own, owned)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(r.ctx)
	r.nodes[addr] = &watched{state: n.state, stop: cancel}
	r.wg.Go(func() { n.watch(ctx, r.told) })
	return nil
}

// loop takes in what the nodes tell, and looks with each tick which nodes
// there are, if c knows that. While a look hangs the last state is told again:
// what lasts has to be judged by time.
func (r *sampling) loop(c *respool.Client, tick <-chan time.Time) {
	began := time.Now()
	for {
		select {
		case <-r.ctx.Done():
			for _, w := range r.nodes {
				w.stop()
			}
			return
		case state := <-r.told:
			if w := r.nodes[state.Addr]; w != nil {
				w.state = state
				r.publish()
			}
		case <-tick:
			changed := c != nil && r.discover(c)
			if len(r.nodes) == 0 && time.Since(began) < searchTime {
				continue // not every sentinel has answered yet
			}
			if changed || time.Since(r.s.State().At) >= max(r.s.cfg.Every, time.Second) {
				r.publish()
			}
		}
	}
}

// searchTime is how long a service's nodes are looked for before it is told that none is known.
const searchTime = 2 * time.Second

// goneFor is how long a node is looked at that the sentinels do not list any
// more: they forget one for a moment when roles change.
const goneFor = time.Minute

// discover follows which nodes a service has, and reports whether something changed.
func (r *sampling) discover(c *respool.Client) (changed bool) {
	service := c.Stats().Service
	was := r.err
	r.err = service.Err
	changed = (was == nil) != (r.err == nil)
	there := map[string]bool{service.Primary: service.Primary != ""}
	for _, addr := range service.Replicas {
		there[addr] = true
	}
	for _, left := range service.Excluded {
		there[left.Addr] = true
	}
	for addr := range there {
		if addr == "" || r.nodes[addr] != nil {
			continue
		}
		if err := r.begin(addr, func() int64 { return 1 + sockets(c, addr) }); err != nil {
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
			changed = true
		}
	}
	return changed
}

// sockets is how many connections a client has to a node.
func sockets(c *respool.Client, addr string) int64 {
	for _, n := range c.Stats().Nodes {
		if n.Addr == addr {
			return int64(n.Sockets())
		}
	}
	return 0
}

// publish makes the state that everybody sees.
func (r *sampling) publish() {
	st := &State{At: time.Now(), Service: r.s.cfg.Options.Service, Err: r.err}
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

// rank sorts primaries before replicas, and those that answer before others.
func rank(n *NodeState) string {
	switch {
	case n.Up && n.Role == "primary":
		return "0"
	case n.Up:
		return "1"
	}
	return "2"
}
