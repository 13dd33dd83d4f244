package discovery

import (
	"context"
	"sync"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/topology/sentinel"
	"github.com/seed-2b0d76a6/respool/resp"
)

// Nodes is who acts on what a machine decides. Its methods are called one
// after the other and must not block, but for Role, which is called on a
// goroutine of its own.
type Nodes interface {
	// Role asks a data node for its role. ctx is bounded by Config.QueryTimeout,
	// and ends with Stop.
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

	ctx    context.Context // of Role
	cancel context.CancelFunc
	asking sync.WaitGroup
	wake   chan struct{} // capacity 1: there are events
	done   chan struct{} // closed when run has ended
	timer  *time.Timer   // touched by run alone

	mu      sync.Mutex
	events  []sentinel.Event
	queued  map[sentinel.Evidence]bool // what stands in events
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

// Evidence tells what connections to a data node found. It never blocks; what
// is queued already is not queued again.
func (w *Service) Evidence(kind sentinel.EvidenceKind, addr string, epoch uint64) {
	e := sentinel.Evidence{Kind: kind, Addr: addr, Epoch: epoch}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.stopped && !w.queued[e] {
		w.queued[e] = true
		w.enqueueLocked(e)
	}
}

// View gives what the machine believes, and the time by its clock.
func (w *Service) View() (sentinel.View, time.Duration) {
	w.stepping.Lock()
	defer w.stepping.Unlock()
	return w.machine.View(), time.Since(w.born)
}

// Stop ends the machine. When it returns no method of Nodes runs, and none is
// called any more.
func (w *Service) Stop() {
	w.halt()
	<-w.done
}

// halt begins what Stop waits for.
func (w *Service) halt() {
	w.mu.Lock()
	w.stopped = true
	w.mu.Unlock()
	w.cancel()
	w.signal()
}

// pushLimit is how many bytes of pushes may be queued: a sentinel that publishes
// without an end takes no more memory than that.
const pushLimit = 1 << 20

// pushCost is what a push takes besides its text.
const pushCost = 64

// push queues a push, and reports whether there was room.
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

// take gives the events that have come, and whether it is time to stop.
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
