package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/topology"
	"github.com/seed-2b0d76a6/respool/internal/topology/discovery"
	"github.com/seed-2b0d76a6/respool/internal/topology/sentinel"
	"github.com/seed-2b0d76a6/respool/internal/wire"
	"github.com/seed-2b0d76a6/respool/resp"
)

// sentinelRouter finds an engine's nodes through sentinels. It starts with the first use of the engine and ends with
// stop, which waits for its goroutines.
type sentinelRouter struct {
	e         *Engine
	sentinels *Sentinels
	ctx       context.Context
	cancel    context.CancelFunc
	warming   sync.WaitGroup
	service   atomic.Pointer[discovery.Service] // nil before start

	mu      sync.Mutex
	started bool
	stopped bool

	// The last decision of the machine. Only the goroutine of the driver uses these fields.
	epoch    uint64
	primary  string
	known    bool
	replicas []string
	held     string
	report   *sentinel.Error
}

func newSentinelRouter(e *Engine) *sentinelRouter {
	f := &sentinelRouter{e: e, sentinels: e.cfg.Sentinels}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	return f
}

// start registers the service with the sentinels, once.
func (f *sentinelRouter) start() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.started || f.stopped {
		return
	}
	f.started = true
	cfg, sentinels := &f.e.cfg.Service, &f.sentinels.cfg
	f.service.Store(f.sentinels.links.Watch(sentinel.Config{
		Name: cfg.Name, Sentinels: sentinels.Addrs, MinOther: sentinels.MinOther,
		Replicas: true, MaxReplicaLag: cfg.MaxReplicaLag,
		Poll: sentinels.PollInterval, QueryTimeout: sentinels.Timeout,
		BackoffCap: sentinels.Timeout, HoldFor: cfg.holdFor(sentinels), MapAddr: sentinels.MapAddr,
	}, f))
	if cfg.Role != Primary && cfg.Nearest {
		f.warming.Go(f.measure)
	}
}

// stop ends the search. After it returns, the route does not change.
func (f *sentinelRouter) stop() {
	f.mu.Lock()
	f.stopped = true
	f.mu.Unlock()
	f.cancel()
	if s := f.service.Load(); s != nil {
		s.Stop()
	}
	f.warming.Wait()
}

// finds is true: a failover provides another node.
func (f *sentinelRouter) finds() bool { return true }

// refused passes evidence to the machine.
func (f *sentinelRouter) refused(n *node, kind topology.Evidence) { f.evidence(kind, n.addr) }

// lost passes evidence to the machine.
func (f *sentinelRouter) lost(addr string) { f.evidence(topology.ConnLost, addr) }

// evidence reports an observation on a connection to the node at addr to the machine.
func (f *sentinelRouter) evidence(kind topology.Evidence, addr string) {
	if s := f.service.Load(); s != nil {
		s.Evidence(kind, addr, f.e.nodes.now.Load().epoch)
	}
}

// Role sends ROLE to a node, for the machine.
func (f *sentinelRouter) Role(ctx context.Context, addr string) (resp.Value, error) {
	frame, err := f.e.nodes.probe(ctx, addr, "ROLE")
	if err != nil {
		return resp.Value{}, err
	}
	v, _, err := resp.Decode(frame)
	return v, err
}

// NewEpoch routes to a new primary.
func (f *sentinelRouter) NewEpoch(e sentinel.NewEpoch) {
	f.epoch, f.primary, f.known, f.replicas, f.report = e.Epoch, e.Primary, true, e.Replicas, nil
	f.held = ""
	f.applyRoute()
	f.e.emit(Event{Kind: PrimaryFound, Addr: e.Primary, Reason: e.Cause})
	if e.Epoch > 1 {
		f.warm()
		f.e.waits.moved()
	}
}

// Hold makes writes wait while a replica is promoted.
func (f *sentinelRouter) Hold(e sentinel.Hold) {
	f.held = e.Reason
	f.applyRoute()
	f.e.emit(Event{Kind: WritesHeld, Addr: f.primary, Reason: e.Reason})
}

// Unhold releases the writes: the promotion did not happen.
func (f *sentinelRouter) Unhold(sentinel.Unhold) {
	f.held = ""
	f.applyRoute()
	f.e.emit(Event{Kind: PrimaryFound, Addr: f.primary, Reason: "no failover came of the promotion"})
}

// ReplicasChanged routes to a new set of replicas.
func (f *sentinelRouter) ReplicasChanged(e sentinel.ReplicasChanged) {
	f.replicas = e.Replicas
	if f.e.cfg.Service.Role != Primary {
		f.applyRoute()
	}
}

// Lost records that no primary is known.
func (f *sentinelRouter) Lost(e sentinel.Lost) {
	lost := f.known
	addr := f.primary
	f.known, f.report, f.held = false, e.Err, ""
	f.applyRoute()
	if lost {
		f.e.emit(Event{Kind: PrimaryLost, Addr: addr, Reason: e.Err.Reason, Err: e.Err})
	}
}

// applyRoute publishes the route of the last decision.
func (f *sentinelRouter) applyRoute() {
	var addrs []string
	if f.e.cfg.Service.Role != Primary {
		addrs = f.replicas
	}
	if f.known && (f.e.cfg.Service.Role == Primary || f.e.cfg.Service.Role == PreferReplica && len(addrs) == 0) {
		addrs = []string{f.primary}
	}
	f.e.nodes.applyRoute(route{epoch: f.epoch, nearest: f.e.cfg.Service.Nearest, report: f.report, held: f.held}, addrs, f.sentinels.cfg.DrainLimit)
}

// warm opens the lanes and idle connections of the nodes in use, before callers need them.
func (f *sentinelRouter) warm() {
	r := f.e.nodes.now.Load()
	for _, n := range r.nodes() {
		f.warming.Go(func() { _ = n.pool.Warm(f.ctx) }) // after a failure, callers dial when they need a connection
	}
}

// measureEvery is the interval between measurements of latency.
const measureEvery = time.Second

// measure updates the smoothed latency of each node until stop.
func (f *sentinelRouter) measure() {
	tick := time.NewTicker(measureEvery)
	defer tick.Stop()
	for {
		for _, n := range f.e.nodes.now.Load().nodes() {
			ctx, cancel := context.WithTimeout(f.ctx, measureEvery)
			began := time.Now()
			_, err := f.e.nodes.probe(ctx, n.addr, "PING")
			cancel()
			took := int64(time.Since(began))
			if before := n.latency.Load(); before > 0 {
				took = before + (took-before)/4
			}
			if err == nil {
				n.latency.Store(took)
			}
		}
		select {
		case <-tick.C:
		case <-f.ctx.Done():
			return
		}
	}
}

// hopeless returns an error if every sentinel is in a state that waiting does not change.
func (f *sentinelRouter) hopeless(r *route) error {
	if r.report != nil && hopeless(r.report) {
		return f.explain(errHopeless)
	}
	return nil
}

var errHopeless = errors.New("no sentinel can tell")

// hopeless reports whether all sentinels are in a state that waiting does not change.
func hopeless(e *sentinel.Error) bool {
	for _, c := range e.Causes {
		switch c.Finding {
		case sentinel.Untried, sentinel.Usable, sentinel.Refused:
			return false
		}
	}
	return true
}

// explain returns an error that matches ErrNoPrimary and includes the report of the sentinels.
func (f *sentinelRouter) explain(cause error) error {
	e := &noNode{cause: cause}
	what := "find the primary of"
	if s := f.service.Load(); s != nil {
		view, _ := s.View()
		if view.Err != nil {
			e.report = view.Err
			if errors.Is(view.Err, sentinel.ErrNeedsPassword) {
				e.report = fmt.Errorf("%w (credentials for sentinels stand apart: SentinelOptions.Username and Password, sentinel_username and sentinel_password in a URL)", view.Err)
			}
		}
		if held := f.e.nodes.now.Load().held; held != "" {
			e.report = errors.New("writes wait while " + held)
		}
		if f.e.cfg.Service.Role == Replica && view.Known {
			e.report = errors.New(replicaReport(&view))
		}
	}
	if f.e.cfg.Service.Role != Primary {
		what = "find a replica of"
	}
	return &wire.Error{Op: what, Addr: f.e.cfg.Service.Name, Err: e}
}

// replicaReport states why no replica is usable.
func replicaReport(v *sentinel.View) string {
	if len(v.LeftOut) == 0 {
		return fmt.Sprintf("the sentinels know no replica of %s", v.Primary)
	}
	var reasons []string
	for _, l := range v.LeftOut {
		reasons = append(reasons, l.Addr+" "+l.Reason)
	}
	return "no replica is usable: " + strings.Join(reasons, "; ")
}

// noNode matches ErrNoPrimary.
type noNode struct {
	cause  error // the reason for the end of the wait
	report error // the report of the sentinels; nil if there is none yet
}

func (e *noNode) Error() string {
	if e.report == nil {
		return e.cause.Error() + ": no sentinel has answered yet"
	}
	return e.cause.Error() + ": " + e.report.Error()
}

func (e *noNode) Is(target error) bool { return target == ErrNoPrimary }

func (e *noNode) Unwrap() error { return e.cause }
