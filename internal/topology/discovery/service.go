package discovery

import (
	"context"
	"sync"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/topology"
	"github.com/seed-2b0d76a6/respool/internal/topology/sentinel"
	"github.com/seed-2b0d76a6/respool/resp"
)

// Nodes performs the decisions of a machine. Its methods are called one after the other and must not block, except
// Role, which runs on a new goroutine.
type Nodes interface {
	// Role sends ROLE to a data node. Config.QueryTimeout limits ctx, and Stop ends it.
	Role(ctx context.Context, addr string) (resp.Value, error)
	NewEpoch(sentinel.NewEpoch)
	Hold(sentinel.Hold)
	Unhold(sentinel.Unhold)
	ReplicasChanged(sentinel.ReplicasChanged)
	Lost(sentinel.Lost)
}

// Service runs one machine. All methods are safe for concurrent use.
type Service struct {
	s     *Sentinels
	nodes Nodes
	born  time.Time

	ctx    context.Context // ctx of Role
	cancel context.CancelFunc
	asking sync.WaitGroup
	wake   chan struct{} // capacity 1: events are queued
	done   chan struct{} // closed when run has ended
	timer  *time.Timer   // used only by run

	mu      sync.Mutex
	events  []sentinel.Event
	queued  map[sentinel.Evidence]bool // the evidence in events
	pushed  int                        // bytes of the pushes in events
	stopped bool

	stepping sync.Mutex // guards machine
	machine  *sentinel.Machine
}

func newService(s *Sentinels, cfg sentinel.Config, nodes Nodes) *Service {
	w := &Service{s: s, nodes: nodes, born: time.Now(), wake: make(chan struct{}, 1), done: make(chan struct{}),
		queued: map[sentinel.Evidence]bool{}, machine: sentinel.New(cfg)}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	return w
}

// Evidence reports an observation on connections to a data node. It does not block. It ignores evidence that is
// queued already.
func (w *Service) Evidence(kind topology.Evidence, addr string, epoch uint64) {
	e := sentinel.Evidence{Kind: kind, Addr: addr, Epoch: epoch}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.stopped && !w.queued[e] {
		w.queued[e] = true
		w.enqueueLocked(e)
	}
}

// View returns the state of the machine, and the time of its clock.
func (w *Service) View() (sentinel.View, time.Duration) {
	w.stepping.Lock()
	defer w.stepping.Unlock()
	return w.machine.View(), time.Since(w.born)
}

// Stop stops the machine. When it returns, no method of Nodes runs, and none is called any more.
func (w *Service) Stop() {
	w.halt()
	<-w.done
}

// halt starts the stop without waiting.
func (w *Service) halt() {
	w.mu.Lock()
	w.stopped = true
	w.mu.Unlock()
	w.cancel()
	w.signal()
}

// pushLimit is the maximum size of queued pushes, in bytes. It limits the memory for a sentinel that publishes
// endlessly.
const pushLimit = 1 << 20

// pushCost is the size of a push in addition to its text.
const pushCost = 64

// push queues a push and reports whether there was room.
func (w *Service) push(e sentinel.Push) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.pushed >= pushLimit {
		return false
	}
	w.pushed += pushCost + len(e.Channel) + len(e.Payload)
	w.enqueueLocked(e)
	return true
}

func (w *Service) enqueue(e sentinel.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.enqueueLocked(e)
}

func (w *Service) enqueueLocked(e sentinel.Event) {
	if !w.stopped {
		w.events = append(w.events, e)
		w.signal()
	}
}

func (w *Service) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// take returns the queued events, and whether to stop.
func (w *Service) take() (events []sentinel.Event, stop bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	events, w.events, w.pushed = w.events, nil, 0
	clear(w.queued)
	return events, w.stopped
}

// run is the machine's goroutine.
func (w *Service) run() {
	defer close(w.done)
	w.timer = time.NewTimer(time.Hour)
	defer w.timer.Stop()
	for {
		select {
		case <-w.wake:
		case <-w.timer.C:
			w.step(sentinel.Tick{})
		}
		events, stop := w.take()
		if stop {
			break
		}
		for _, e := range events {
			w.step(e)
		}
	}
	w.s.leave(w)
	w.asking.Wait()
}

func (w *Service) step(e sentinel.Event) {
	w.stepping.Lock()
	actions := w.machine.Step(time.Since(w.born), e)
	w.stepping.Unlock()
	for _, a := range actions {
		w.act(a)
	}
}

func (w *Service) act(a sentinel.Action) {
	switch a := a.(type) {
	case sentinel.Connect:
		w.s.connect(w, a)
	case sentinel.Disconnect:
		w.s.disconnect(w, a)
	case sentinel.Ask:
		w.s.ask(w, a)
	case sentinel.Subscribe:
		w.s.subscribe(w, a)
	case sentinel.Check:
		w.s.check(a)
	case sentinel.Verify:
		w.asking.Go(func() { w.verify(a) })
	case sentinel.NewEpoch:
		w.nodes.NewEpoch(a)
	case sentinel.Hold:
		w.nodes.Hold(a)
	case sentinel.Unhold:
		w.nodes.Unhold(a)
	case sentinel.ReplicasChanged:
		w.nodes.ReplicasChanged(a)
	case sentinel.Lost:
		w.nodes.Lost(a)
	case sentinel.Wake:
		w.timer.Reset(max(0, a.At-time.Since(w.born)))
	}
}

func (w *Service) verify(a sentinel.Verify) {
	ctx, cancel := context.WithTimeout(w.ctx, w.s.cfg.QueryTimeout)
	defer cancel()
	v, err := w.nodes.Role(ctx, a.Addr)
	w.enqueue(sentinel.Answer{Seq: a.Seq, Reply: v, Err: err})
}
