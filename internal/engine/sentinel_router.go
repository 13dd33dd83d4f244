package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/sentinels"
	"github.com/seed-2b0d76a6/respool/internal/topology"
	"github.com/seed-2b0d76a6/respool/internal/topology/discovery"
	"github.com/seed-2b0d76a6/respool/internal/topology/sentinel"
	"github.com/seed-2b0d76a6/respool/internal/wire"
	"github.com/seed-2b0d76a6/respool/resp"
)

// Role selects the nodes of a service that an engine uses.
type Role uint8

// The roles.
const (
	Primary Role = iota
	Replica
	PreferReplica // the replicas; the primary while no replica is usable
)

// Service is a service that sentinels monitor, and how an engine uses its nodes.
type Service struct {
	Name          string
	Role          Role
	Nearest       bool          // only the replicas with the lowest latency
	MaxReplicaLag time.Duration // 0: no limit
}

// holdFor returns how long an engine of this role holds writes back during a promotion.
func (s *Service) holdFor(cfg *sentinels.Config) time.Duration {
	if s.Role != Primary {
		return 0
	}
	return cfg.HoldLimit
}

// sentinelRouter finds an engine's nodes through sentinels. It starts with the first use of the engine and ends with
// stop, which waits for its goroutines.
type sentinelRouter struct {
	e         *Engine
	sentinels *sentinels.Set
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
	cfg, from := &f.e.cfg.Service, f.sentinels.Config()
	f.service.Store(f.sentinels.Watch(sentinel.Config{
		Name: cfg.Name, Sentinels: from.Addrs, MinOther: from.MinOther,
		Replicas: true, MaxReplicaLag: cfg.MaxReplicaLag,
		Poll: from.PollInterval, QueryTimeout: from.Timeout,
		BackoffCap: from.Timeout, HoldFor: cfg.holdFor(from), MapAddr: from.MapAddr,
	}, f))
	if cfg.Role != Primary && cfg.Nearest {
		f.warming.Go(func() { f.e.nodes.measure(f.ctx) })
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

// redirected returns nil: the nodes of a service do not redirect.
func (f *sentinelRouter) redirected(target, *redirect) *node { return nil }

// seek does nothing: sentinels tell which node takes over.
func (f *sentinelRouter) seek(*node, slot, []byte, []byte) {}

// certificateName returns addr.
func (f *sentinelRouter) certificateName(addr string) string { return addr }

// lost passes evidence to the machine.
func (f *sentinelRouter) lost(addr string) { f.evidence(topology.ConnLost, addr) }
func (*sentinelRouter) subscribed()        {}
func (*sentinelRouter) failedRead(*node)   {}

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
		f.e.waits.renew()
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
	f.e.nodes.applyRoute(route{epoch: f.epoch, nearest: f.e.cfg.Service.Nearest, report: f.report, held: f.held}, f.e.nodes.at(addrs), f.sentinels.Config().DrainLimit)
}

// warm opens the lanes and idle connections of the nodes in use, before callers need them.
func (f *sentinelRouter) warm() {
	r := f.e.nodes.now.Load()
	for _, n := range r.nodes() {
		f.warming.Go(func() { _ = n.pool.Warm(f.ctx) }) // after a failure, callers dial when they need a connection
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
	e := &noNode{cause: cause, unasked: "no sentinel has answered yet"}
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
	var excluded []ExcludedReplica
	for _, l := range v.LeftOut {
		excluded = append(excluded, ExcludedReplica(l))
	}
	return excludedReport(excluded)
}

// noNode matches ErrNoPrimary.
type noNode struct {
	cause   error  // the reason for the end of the wait
	report  error  // the report of the sentinels, or of the cluster; nil if there is none yet
	unasked string // the report while there is none
}

func (e *noNode) Error() string {
	if e.report == nil {
		return e.cause.Error() + ": " + e.unasked
	}
	return e.cause.Error() + ": " + e.report.Error()
}

func (e *noNode) Is(target error) bool { return target == ErrNoPrimary }

func (e *noNode) Unwrap() error { return e.cause }
