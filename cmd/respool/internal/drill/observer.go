package drill

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/connect"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/pause"
	"github.com/seed-2b0d76a6/respool/monitor"
)

// observer records how servers and sentinels see the failover.
type observer struct {
	opt    respool.Options
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu     sync.Mutex
	nodes  []*nodeCount
	events []event
	spans  []*span
}

// nodeCount counts our connections to one server.
type nodeCount struct {
	addr     string
	sentinel bool
	peak     int
	now      int
	samples  int
	down     bool             // at the last sample
	lastSeen time.Time        // of one of our connections
	open     map[string]*span // the connections of the last sample, by their ID and address
}

// event is a line of the timeline in the report.
type event struct {
	at   time.Time
	who  string
	text string
}

func newObserver(opt respool.Options) *observer {
	w := &observer{opt: opt}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	return w
}

// event records an event of the client.
func (w *observer) event(e respool.Event) {
	switch e.Kind {
	case respool.EventPrimaryFound:
		w.note("client", fmt.Sprintf("uses primary %s (%s)", e.Addr, e.Reason))
	case respool.EventWritesHeld:
		w.note("client", "holds writes: "+e.Reason)
	case respool.EventPrimaryLost:
		w.note("client", fmt.Sprintf("excludes %s: %s", e.Addr, e.Reason))
	case respool.EventClusterNodesChanged:
		w.note("client", "uses other primaries: "+e.Reason)
	case respool.EventSlotsLost:
		w.note("client", "knows no node for some slots: "+e.Reason)
	case respool.EventSlotsFound:
		w.note("client", "knows a node for each slot again")
	case respool.EventTotalTooLow:
		w.note("client", "max_connections_total is too low: "+fmt.Sprint(e.Err))
	}
}

func (w *observer) note(who, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, event{time.Now(), who, text})
}

// start counts the connections of every node and sentinel, and subscribes to the sentinels'
// messages.
func (w *observer) start(ctx context.Context, s *respool.ServiceStats) {
	for _, addr := range append([]string{s.Primary}, s.Replicas...) {
		opt := w.opt
		opt.Addr, opt.Service, opt.Sentinel = addr, "", nil
		w.count(addr, opt, false)
	}
	for _, one := range s.Sentinels {
		w.count(one.Addr, monitor.SentinelServer(w.opt, one.Addr), true)
	}
	for i, one := range s.Sentinels {
		w.wg.Go(func() { w.listen(one.Addr, i == 0) })
	}
}

// startCluster counts the connections of every node of a cluster.
func (w *observer) startCluster(nodes []monitor.Server) {
	for _, one := range nodes {
		if one.Err == nil {
			w.count(one.Addr, one.Options, false)
		}
	}
}

func (w *observer) stop() {
	w.cancel()
	w.wg.Wait()
}

func (w *observer) count(addr string, opt respool.Options, sentinel bool) {
	n := &nodeCount{addr: addr, sentinel: sentinel}
	w.mu.Lock()
	w.nodes = append(w.nodes, n)
	w.mu.Unlock()
	opt.ClientName = "respool:watch"
	opt.MaxConnections, opt.Lanes, opt.MinIdle = 1, 1, 0
	opt.SocketTimeout = time.Second
	c, err := respool.New(opt)
	if err != nil {
		return
	}
	w.wg.Go(func() {
		defer connect.Close(c)
		for pause.For(w.ctx, countInterval) == nil {
			began := time.Now()
			list, err := c.Do(w.ctx, "CLIENT", "LIST").Text()
			var ours []string
			for line := range strings.Lines(list) {
				if strings.Contains(line, " name="+w.opt.ClientName+" ") {
					ours = append(ours, strings.Join(strings.Fields(line)[:2], " ")) // the ID and the address
				}
			}
			w.counted(n, ours, err, began)
		}
	})
}

// countInterval is the time between two reads of CLIENT LIST.
const countInterval = 25 * time.Millisecond

// counted records one sample. Samples that fail, or that arrive after the end, are ignored.
func (w *observer) counted(n *nodeCount, ours []string, err error, began time.Time) {
	if w.ctx.Err() != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if n.down = err != nil; n.down {
		n.open = nil
		return
	}
	clients, now := len(ours), time.Now()
	n.now, n.peak = clients, max(n.peak, clients)
	n.samples++
	if clients > 0 {
		n.lastSeen = now
	}
	open := map[string]*span{}
	for _, key := range ours {
		s := n.open[key]
		if s == nil {
			s = &span{first: now}
			w.spans = append(w.spans, s)
		} else {
			s.last = began
		}
		open[key] = s
	}
	n.open = open
}

// span is a period in which a connection was open for sure: from the end of the first sample that contains it to the
// beginning of the last one. A connection in one sample has none.
type span struct{ first, last time.Time }

// together returns the largest number of connections that all nodes counted at the same time. It never counts
// connections that were open one after the other, and at least those of one node.
func (w *observer) together() (peak int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, n := range w.nodes {
		if !n.sentinel {
			peak = max(peak, n.peak)
		}
	}
	var starts, ends []time.Time
	for _, s := range w.spans {
		if s.last.After(s.first) {
			starts, ends = append(starts, s.first), append(ends, s.last)
		}
	}
	slices.SortFunc(starts, time.Time.Compare)
	slices.SortFunc(ends, time.Time.Compare)
	closed := 0
	for i, start := range starts {
		for closed < len(ends) && ends[closed].Before(start) {
			closed++
		}
		peak = max(peak, i+1-closed)
	}
	return peak
}

// failoverEvents are the sentinel messages that describe a failover.
var failoverEvents = map[string]bool{
	"+sdown": true, "+odown": true, "+new-epoch": true, "+try-failover": true, "+elected-leader": true,
	"+selected-slave": true, "+promoted-slave": true, "+failover-end": true, "+switch-master": true,
}

// listen records the messages of a sentinel: all failover events of the first sentinel, and only
// the switch of the others.
func (w *observer) listen(addr string, all bool) {
	c, err := respool.New(monitor.SentinelServer(w.opt, addr))
	if err != nil {
		return
	}
	defer connect.Close(c)
	for pause.For(w.ctx, countInterval) == nil {
		sub, err := c.PSubscribe(w.ctx, "*")
		if err != nil {
			continue
		}
		for m, err := range sub.Messages(w.ctx) {
			if err == nil && m.Gap == nil && strings.Contains(" "+m.Payload+" ", " "+w.opt.Service+" ") &&
				(m.Channel == "+switch-master" || all && failoverEvents[m.Channel]) {
				w.note("sentinel "+addr, m.Channel+" "+m.Payload)
			}
		}
		sub.Close()
	}
}

// snapshot returns the samples and events so far.
func (w *observer) snapshot() (nodes []nodeCount, events []event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, n := range w.nodes {
		nodes = append(nodes, *n)
	}
	return nodes, append(events, w.events...)
}
