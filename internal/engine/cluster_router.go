package engine

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/pool"
	"github.com/seed-2b0d76a6/respool/internal/topology"
	"github.com/seed-2b0d76a6/respool/internal/topology/cluster"
	"github.com/seed-2b0d76a6/respool/internal/topology/readers"
	"github.com/seed-2b0d76a6/respool/internal/wire"
	"github.com/seed-2b0d76a6/respool/resp"
)

// ClusterConfig configures how an engine uses a cluster. The caller sets every field.
type ClusterConfig struct {
	Seeds        []string // host:port of nodes, to find the others
	MaxTotal     int      // sockets to all nodes together; 0: no limit
	CrossSlot    CrossSlot
	QueryTimeout time.Duration // of each query about the map, and of each lookup of a seed
	DrainLimit   time.Duration // how long replies of a node that left may still arrive
	MapAddr      func(addr string) string
}

// clusterRouter finds the nodes of a cluster, and the slots that each serves. It drives the state machine of package
// cluster: the goroutine that posts an event passes it to the machine and performs the machine's actions, so that a redirect
// changes the map at once. Another goroutine, which starts with the first use of the engine, keeps the time.
type clusterRouter struct {
	e     *Engine
	cfg   cluster.Config
	names sync.Map // address -> the name that its certificate must have

	readers *readers.Set // the replicas; nil: they take no reads

	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup
	wake    chan struct{} // capacity 1: see rouse

	machine *cluster.Machine // used by the goroutine that set stepping
	began   time.Time        // the machine's time 0

	mu       sync.Mutex
	started  bool
	stopped  bool
	events   []cluster.Event // the machine has not seen them yet
	stepping bool            // a goroutine passes events to the machine
	stepped  sync.Cond       // on mu: stepping has become false
	next     time.Duration   // time of the machine's Wake; negative: none
	notices  []Event         // for OnEvent
	strays   time.Time       // when nodes to which only redirects led may be suspended again; zero: there are none

	watching atomic.Bool // watch runs
	seen     string      // the state of the cluster that watch saw last

	tooLow bool // the last map has more primaries than MaxTotal; step uses it

	refusals [4]atomic.Uint64 // by kind, from topology.Moved on
	current  atomic.Pointer[cluster.Map]
	lostNow  atomic.Pointer[cluster.Error] // why slots have no owner, or no map is known; nil: all is well
}

func newClusterRouter(e *Engine) *clusterRouter {
	c := &clusterRouter{e: e, wake: make(chan struct{}, 1), began: time.Now(), next: -1}
	c.stepped.L = &c.mu
	c.cfg = cluster.Config{Seeds: e.cluster.Seeds, QueryTimeout: e.cluster.QueryTimeout, MapAddr: e.cluster.MapAddr}
	c.machine = cluster.New(c.cfg)
	c.ctx, c.cancel = context.WithCancel(context.Background())
	if e.cfg.Service.Role != Primary {
		c.readers = c.newReaders()
	}
	return c
}

func (c *clusterRouter) start() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.started || c.stopped {
		return
	}
	c.started = true
	c.running.Go(c.run)
	if c.readers != nil {
		c.running.Go(func() { c.readers.Run(c.ctx) })
	}
	if c.readers != nil && c.e.cfg.Service.Nearest {
		c.running.Go(func() { c.e.nodes.measure(c.ctx) })
	}
}

func (c *clusterRouter) stop() {
	c.mu.Lock()
	c.stopped = true
	for c.stepping {
		c.stepped.Wait()
	}
	c.mu.Unlock()
	c.cancel()
	c.running.Wait()
}

func (*clusterRouter) finds() bool          { return true }
func (*clusterRouter) stats() *ServiceStats { return nil }

// run passes the time to the machine, and delivers events to OnEvent, until stop.
func (c *clusterRouter) run() {
	c.post(cluster.Start{})
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		timer.Reset(c.untilDue())
		select {
		case <-c.ctx.Done():
			return
		case <-c.wake:
			for _, notice := range c.takeNotices() {
				c.e.emit(notice)
			}
		case <-timer.C:
			c.post(cluster.Tick{})
			c.suspendStrays()
		}
	}
}

// post passes an event to the machine. It does not wait: if another goroutine works with the machine, that goroutine
// handles the event.
func (c *clusterRouter) post(event cluster.Event) {
	c.mu.Lock()
	if !c.started || c.stopped || c.repeatsLocked(event) {
		c.mu.Unlock()
		return
	}
	c.events = append(c.events, event)
	if c.stepping {
		c.mu.Unlock()
		return
	}
	c.stepping = true
	for len(c.events) > 0 && !c.stopped {
		event := c.events[0]
		c.events = c.events[1:]
		c.mu.Unlock()
		c.step(event)
		c.mu.Lock()
	}
	c.stepping = false
	c.stepped.Broadcast()
	c.mu.Unlock()
}

// step passes an event to the machine and performs its actions. One goroutine at a time calls it.
func (c *clusterRouter) step(event cluster.Event) {
	if _, ok := event.(readersChanged); ok {
		c.reapply()
		return
	}
	for _, action := range c.machine.Step(time.Since(c.began), event) {
		c.perform(action)
	}
}

// notice lets run emit an event: OnEvent may call methods that need the machine.
func (c *clusterRouter) notice(event Event) {
	c.mu.Lock()
	c.notices = append(c.notices, event)
	c.mu.Unlock()
	c.rouse()
}

func (c *clusterRouter) takeNotices() []Event {
	c.mu.Lock()
	defer c.mu.Unlock()
	notices := c.notices
	c.notices = nil
	return notices
}

// rouse makes run look for notices and for another time of its next step.
func (c *clusterRouter) rouse() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// untilDue returns the time until run must do something.
func (c *clusterRouter) untilDue() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	wait := time.Hour
	if c.next >= 0 {
		wait = c.next - time.Since(c.began)
	}
	if !c.strays.IsZero() {
		wait = min(wait, time.Until(c.strays))
	}
	return max(wait, 0)
}

// mostCompared limits the comparisons of a new event with those that wait.
const mostCompared = 64

// repeatsLocked reports whether the same event waits already, as with many callers that are redirected at once.
func (c *clusterRouter) repeatsLocked(event cluster.Event) bool {
	switch event.(type) {
	case cluster.Moved, cluster.Ask, cluster.Evidence, readersChanged:
		for i := len(c.events) - 1; i >= 0 && i >= len(c.events)-mostCompared; i-- {
			if c.events[i] == event {
				return true
			}
		}
	}
	return false
}

// perform performs an action of the machine.
func (c *clusterRouter) perform(action cluster.Action) {
	switch a := action.(type) {
	case cluster.Wake:
		c.mu.Lock()
		c.next = a.At
		c.mu.Unlock()
		c.rouse()
	case cluster.Query:
		c.running.Go(func() { c.post(c.query(a)) })
	case cluster.Resolve:
		c.running.Go(func() { c.post(c.resolve(a)) })
	case cluster.NewMap:
		before := c.e.nodes.now.Load().nodes()
		c.current.Store(a.Map)
		c.apply(a.Map)
		if !slices.Equal(before, c.e.nodes.now.Load().nodes()) { // a slot that moves is counted, not reported
			c.notice(Event{Kind: ClusterNodesChanged, Addr: c.e.place(), Reason: a.Cause})
			c.compareTotal(len(a.Map.Shards))
		}
	case cluster.Lost:
		if c.lostNow.Swap(a.Err) == nil {
			c.notice(Event{Kind: SlotsLost, Addr: c.e.place(), Reason: a.Err.Error(), Err: a.Err})
		}
		c.e.nodes.announce()
	case cluster.Found:
		c.lostNow.Store(nil)
		c.notice(Event{Kind: SlotsFound, Addr: c.e.place()})
	}
}

// refused passes evidence to the machine.
func (c *clusterRouter) refused(n *node, kind topology.Evidence) {
	if kind == topology.TryAgain || kind == topology.ClusterDown {
		c.refusals[kind-topology.Moved].Add(1)
	}
	c.post(cluster.Evidence{Kind: kind, Addr: n.addr})
}

// rawMapQuery are the two queries about the map.
var rawMapQuery = []byte("*2\r\n$7\r\nCLUSTER\r\n$4\r\nINFO\r\n*2\r\n$7\r\nCLUSTER\r\n$5\r\nSLOTS\r\n")

// query asks a node for the map: on a lane, if commands use the node or no map is known yet, else with a probe.
func (c *clusterRouter) query(q cluster.Query) cluster.Answer {
	ctx, cancel := context.WithTimeout(c.ctx, c.e.cluster.QueryTimeout)
	defer cancel()
	answer := cluster.Answer{Seq: q.Seq}
	n := c.node(q.Node)
	if n == nil {
		answer.Err = pool.ErrClosed
		return answer
	}
	if c.current.Load() == nil {
		n.pool.Resume() // its lane is used for commands afterwards
	}
	l, opt, err := c.queryLane(ctx, n)
	frames := make([][]byte, 2)
	switch {
	case err == nil:
		frames, err = l.DoRaw(ctx, rawMapQuery, 2, opt)
	case errors.Is(err, pool.ErrSuspended):
		if frames[0], err = c.e.nodes.probe(ctx, n.addr, "CLUSTER", "INFO"); err == nil {
			frames[1], err = c.e.nodes.probe(ctx, n.addr, "CLUSTER", "SLOTS")
		}
	}
	if err == nil {
		answer.Info, err = decoded(frames[0])
	}
	if err == nil {
		answer.Slots, err = decoded(frames[1])
	}
	if answer.Err = err; err != nil && c.e.cluster.MaxTotal > 0 && c.current.Load() == nil {
		n.pool.Suspend(0) // the places of nodes that do not answer are for other nodes
	}
	return answer
}

func decoded(frame []byte) (resp.Value, error) {
	v, _, err := resp.Decode(frame)
	return v, err
}

// resolve looks up the addresses of the seeds.
func (c *clusterRouter) resolve(q cluster.Resolve) cluster.Resolved {
	ctx, cancel := context.WithTimeout(c.ctx, c.e.cluster.QueryTimeout)
	defer cancel()
	answer := cluster.Resolved{Seq: q.Seq}
	for _, seed := range c.cfg.Seeds {
		host, port, _ := net.SplitHostPort(seed)
		if _, err := netip.ParseAddr(host); err == nil || c.e.cfg.Dial.DialFunc != nil {
			answer.Nodes = append(answer.Nodes, cluster.Node{Addr: seed})
			continue
		}
		addrs, err := net.DefaultResolver.LookupHost(ctx, host)
		if err != nil {
			answer.Err = err
		}
		for _, a := range addrs {
			answer.Nodes = append(answer.Nodes, cluster.Node{Addr: net.JoinHostPort(a, port), Hostname: host})
		}
	}
	return answer
}

var errNoMap = errors.New("no node can tell")

// hopeless returns an error if every node is in a state that waiting does not change.
func (c *clusterRouter) hopeless(*route) error {
	report := c.lostNow.Load()
	if report == nil || report.Known || len(report.Causes) == 0 {
		return nil
	}
	for _, cause := range report.Causes {
		switch cause.Finding {
		case cluster.Unreachable, cluster.Refused:
			return nil
		}
	}
	return c.explain(errNoMap)
}

// explain returns an error that matches ErrNoPrimary and contains the machine's report.
func (c *clusterRouter) explain(cause error) error {
	e := &noNode{cause: cause, unasked: "no node of the cluster has answered yet"}
	if report := c.lostNow.Load(); report != nil {
		e.report = report
	} else if excluded := c.excluded(); len(excluded) > 0 && c.e.cfg.Service.Role == Replica {
		e.report = errors.New(excludedReport(excluded))
	}
	return &wire.Error{Op: "find the node of a slot in the", Addr: c.e.place(), Err: e}
}
