package respool

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/topology/discovery"
	"github.com/seed-2b0d76a6/respool/internal/topology/sentinel"
	"github.com/seed-2b0d76a6/respool/resp"
)

// ErrNoPrimary is given when no primary, or no replica where one is wanted, was
// found in time. The error's text tells what each sentinel said. Nothing was
// sent.
var ErrNoPrimary = errors.New("respool: no primary is known")

// finder finds a client's nodes through sentinels. Its work begins with the
// first use of the client and ends with stop.
type finder struct {
	c         *Client
	sentinels *Sentinel
	owned     bool // the client's own: closed with it
	ctx       context.Context
	cancel    context.CancelFunc
	warming   sync.WaitGroup
	service   atomic.Pointer[discovery.Service] // nil before start

	mu      sync.Mutex
	started bool
	stopped bool

	// What the machine decided last; only the driver's goroutine touches it.
	epoch    uint64
	primary  string
	known    bool
	replicas []string
	held     string
	report   *sentinel.Error
}

func newFinder(c *Client, s *Sentinel, owned bool) *finder {
	f := &finder{c: c, sentinels: s, owned: owned}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	return f
}

// start begins the search, once.
func (f *finder) start() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.started || f.stopped {
		return
	}
	f.started = true
	opt := &f.c.opt
	f.service.Store(f.sentinels.links.Watch(sentinel.Config{
		Name: opt.Service, Sentinels: f.sentinels.opt.Addrs, MinOther: f.sentinels.opt.MinOtherSentinels,
		Replicas: true, MaxReplicaLag: opt.MaxReplicaLag,
		Poll: f.sentinels.opt.PollInterval, QueryTimeout: f.sentinels.opt.Timeout,
		BackoffCap: f.sentinels.opt.Timeout, HoldFor: f.sentinels.holdFor(f.c.opt.Role), MapAddr: f.sentinels.opt.MapAddr,
	}, f))
	if opt.Role != RolePrimary && opt.Nearest {
		f.warming.Go(f.measure)
	}
}

// stop ends the search: nothing changes any more when it returns.
func (f *finder) stop() {
	f.mu.Lock()
	f.stopped = true
	f.mu.Unlock()
	f.cancel()
	if s := f.service.Load(); s != nil {
		s.Stop()
	}
	f.warming.Wait()
}

// evidence tells what a connection to the node at addr found.
func (f *finder) evidence(kind sentinel.EvidenceKind, addr string) {
	if s := f.service.Load(); s != nil {
		s.Evidence(kind, addr, f.c.nodes.now.Load().epoch)
	}
}

// Role asks a node for its role, for the machine.
func (f *finder) Role(ctx context.Context, addr string) (resp.Value, error) {
	frame, err := f.c.nodes.probe(ctx, addr, "ROLE")
	if err != nil {
		return resp.Value{}, err
	}
	v, _, err := resp.Decode(frame)
	return v, err
}

// NewEpoch takes a new primary.
func (f *finder) NewEpoch(e sentinel.NewEpoch) {
	f.epoch, f.primary, f.known, f.replicas, f.report = e.Epoch, e.Primary, true, e.Replicas, nil
	f.held = ""
	f.apply()
	f.emit(Event{Kind: EventPrimaryFound, Addr: e.Primary, Reason: e.Cause})
	if e.Epoch > 1 {
		f.warm()
	}
}

// Hold has writes wait while a replica is promoted.
func (f *finder) Hold(e sentinel.Hold) {
	f.held = e.Reason
	f.apply()
	f.emit(Event{Kind: EventWritesHeld, Addr: f.primary, Reason: e.Reason})
}

// Unhold lets writes go on, since nothing came of the promotion.
func (f *finder) Unhold(sentinel.Unhold) {
	f.held = ""
	f.apply()
	f.emit(Event{Kind: EventPrimaryFound, Addr: f.primary, Reason: "no failover came of the promotion"})
}

// ReplicasChanged takes other replicas.
func (f *finder) ReplicasChanged(e sentinel.ReplicasChanged) {
	f.replicas = e.Replicas
	if f.c.opt.Role != RolePrimary {
		f.apply()
	}
}

// Lost takes in that no primary is known.
func (f *finder) Lost(e sentinel.Lost) {
	lost := f.known
	addr := f.primary
	f.known, f.report, f.held = false, e.Err, ""
	f.apply()
	if lost {
		f.emit(Event{Kind: EventPrimaryLost, Addr: addr, Reason: e.Err.Reason, Err: e.Err})
	}
}

func (f *finder) emit(e Event) {
	if f.c.opt.OnEvent != nil {
		f.c.tell(e)
	}
}

// apply sends commands where the last decision wants them.
func (f *finder) apply() {
	var addrs []string
	if f.c.opt.Role != RolePrimary {
		addrs = f.replicas
	}
	if f.known && (f.c.opt.Role == RolePrimary || f.c.opt.Role == RolePreferReplica && len(addrs) == 0) {
		addrs = []string{f.primary}
	}
	f.c.nodes.change(route{epoch: f.epoch, nearest: f.c.opt.Nearest, report: f.report, held: f.held}, addrs, f.sentinels.opt.DrainLimit)
}

// warm opens the lanes and the idle connections to the nodes in use ahead of
// their use.
func (f *finder) warm() {
	r := f.c.nodes.now.Load()
	for _, n := range r.nodes() {
		f.warming.Go(func() { _ = n.pool.Warm(f.ctx) }) // what fails is dialed when it is needed
	}
}

// measureEvery is the time between two measurements of the replicas' latency.
const measureEvery = time.Second

// measure keeps the nodes' latencies, smoothed.
func (f *finder) measure() {
	tick := time.NewTicker(measureEvery)
	defer tick.Stop()
	for {
		for _, n := range f.c.nodes.now.Load().nodes() {
			ctx, cancel := context.WithTimeout(f.ctx, measureEvery)
			began := time.Now()
			_, err := f.c.nodes.probe(ctx, n.addr, "PING")
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

// awaitFirst waits for the first node, and gives up before ctx ends where the
// sentinels' answers leave no hope.
func (f *finder) awaitFirst(ctx context.Context) ([]*node, error) {
	f.start()
	for {
		r := f.c.nodes.now.Load()
		switch list := r.nodes(); {
		case len(list) > 0:
			return list, nil
		case r.closed:
			return nil, ErrClosed
		case r.report != nil && hopeless(r.report):
			return nil, f.unknown(errHopeless)
		}
		select {
		case <-r.changed:
		case <-ctx.Done():
			return nil, f.unknown(context.Cause(ctx))
		}
	}
}

var errHopeless = errors.New("no sentinel can tell")

// hopeless reports whether all sentinels were found in a state that time alone does not mend.
func hopeless(e *sentinel.Error) bool {
	for _, c := range e.Causes {
		switch c.Finding {
		case sentinel.Untried, sentinel.Usable, sentinel.Refused:
			return false
		}
	}
	return true
}

// unknown is the error of those who waited for a node in vain.
func (f *finder) unknown(cause error) error {
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
		if held := f.c.nodes.now.Load().held; held != "" {
			e.report = errors.New("writes wait while " + held)
		}
		if f.c.opt.Role == RoleReplica && view.Known {
			e.report = errors.New(replicaReport(&view))
		}
	}
	if f.c.opt.Role != RolePrimary {
		what = "find a replica of"
	}
	return &ConnError{Op: what, Addr: f.c.opt.Service, Err: e}
}

// replicaReport tells why there is no replica to use.
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

// noNode is an ErrNoPrimary.
type noNode struct {
	cause  error // why the wait ended
	report error // what the sentinels said; nil if there is nothing yet
}

func (e *noNode) Error() string {
	if e.report == nil {
		return e.cause.Error() + ": no sentinel has answered yet"
	}
	return e.cause.Error() + ": " + e.report.Error()
}

func (e *noNode) Is(target error) bool { return target == ErrNoPrimary }

func (e *noNode) Unwrap() error { return e.cause }
