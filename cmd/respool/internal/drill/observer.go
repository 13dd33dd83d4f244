package drill

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/connect"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/pause"
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
}

// nodeCount counts our connections to one server.
type nodeCount struct {
	addr     string
	sentinel bool
	peak     int
	now      int
	samples  int
	down     bool      // at the last sample
	lastSeen time.Time // of one of our connections
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
		w.count(addr, false)
	}
	for _, one := range s.Sentinels {
		w.count(one.Addr, true)
	}
	for i, one := range s.Sentinels {
		w.wg.Go(func() { w.listen(one.Addr, i == 0) })
	}
}

func (w *observer) stop() {
	w.cancel()
	w.wg.Wait()
}

func (w *observer) count(addr string, sentinel bool) {
	n := &nodeCount{addr: addr, sentinel: sentinel}
	w.mu.Lock()
	w.nodes = append(w.nodes, n)
	w.mu.Unlock()
	opt := w.opt
	opt.Addr, opt.Service, opt.Sentinel = addr, "", nil
	if sentinel {
		opt = sentinelAsServer(w.opt, addr)
	}
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
			list, err := c.Do(w.ctx, "CLIENT", "LIST").Text()
			w.counted(n, strings.Count(list, " name="+w.opt.ClientName+" "), err)
		}
	})
}

// countInterval is the time between two reads of CLIENT LIST.
const countInterval = 25 * time.Millisecond

// counted records one sample. Samples that fail, or that arrive after the end, are ignored.
func (w *observer) counted(n *nodeCount, clients int, err error) {
	if w.ctx.Err() != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if n.down = err != nil; n.down {
		return
	}
	n.now, n.peak = clients, max(n.peak, clients)
	n.samples++
	if clients > 0 {
		n.lastSeen = time.Now()
	}
}

// failoverEvents are the sentinel messages that describe a failover.
var failoverEvents = map[string]bool{
	"+sdown": true, "+odown": true, "+new-epoch": true, "+try-failover": true, "+elected-leader": true,
	"+selected-slave": true, "+promoted-slave": true, "+failover-end": true, "+switch-master": true,
}

// listen records the messages of a sentinel: all failover events of the first sentinel, and only
// the switch of the others.
func (w *observer) listen(addr string, all bool) {
	c, err := respool.New(sentinelAsServer(w.opt, addr))
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
