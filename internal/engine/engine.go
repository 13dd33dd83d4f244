// Package engine sends commands to a server, or to the nodes of a service or cluster. It picks a node, waits until one is known,
// retries failed commands, lets blocking commands wait, leases connections, and subscribes. Its two users are the public
// client and the gateway.
//
// An engine does not parse URLs, convert replies, or serve clients of the gateway.
//
// An Engine owns the pools of its nodes, its router, its subscriptions, its renewals of credentials, and its queries
// about commands. Their goroutines have ended when Close returns.
package engine

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/budget"
	"github.com/seed-2b0d76a6/respool/internal/certfile"
	"github.com/seed-2b0d76a6/respool/internal/command"
	"github.com/seed-2b0d76a6/respool/internal/identity"
	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/multislot"
	"github.com/seed-2b0d76a6/respool/internal/pool"
	"github.com/seed-2b0d76a6/respool/internal/pubsub"
	"github.com/seed-2b0d76a6/respool/internal/refusal"
	"github.com/seed-2b0d76a6/respool/internal/renewal"
	"github.com/seed-2b0d76a6/respool/internal/replysize"
	"github.com/seed-2b0d76a6/respool/internal/sentinels"
	"github.com/seed-2b0d76a6/respool/internal/vocabulary"
	"github.com/seed-2b0d76a6/respool/internal/wire"
	"github.com/seed-2b0d76a6/respool/resp"
)

// Identity is the user, the database and the protocol of a connection. User is a name that Logins.Verify returned, or
// empty for the engine's own user. The zero Identity is the engine's own identity.
type Identity = pool.Identity

// Config configures an engine. The caller sets every field, including the defaults. A duration of 0 disables its
// limit.
type Config struct {
	// Addr is the address of a single server. It is empty if Sentinels find the nodes of Service.
	Addr      string
	Sentinels *sentinels.Set
	// OwnSentinels: Close closes Sentinels as well.
	OwnSentinels bool
	Service      Service
	// Cluster is the cluster whose nodes take the commands; nil: none. Addr and Sentinels are then not set.
	Cluster *ClusterConfig

	// Dial configures all connections. The engine sets Addr, TLS, Peer and Credentials.
	Dial wire.Config
	// TLS configures encryption; nil: no TLS.
	TLS *certfile.ClientTLS
	// Credentials provides the credentials for each dial, and new ones before they expire; nil: those in Dial apply.
	Credentials renewal.Provider
	// Pool configures the pools of all nodes. The engine sets its callbacks.
	Pool pool.Config
	// Blocking configures blocking commands.
	Blocking BlockingConfig
	// Subscriptions configures all subscriptions. The engine sets Addr and Ping.
	Subscriptions pubsub.Config

	// Retries is how often a sent read-only command is resent.
	Retries int
	// NoReplyTimeout: no reply timeout is configured. A command of a gateway client waits as long as its client.
	NoReplyTimeout bool
	// OnEvent receives events; nil: none. Several goroutines may call it at once. It must not block. It may call any
	// method of the engine; Close does not wait there.
	OnEvent func(Event)
	// OnClosed, if set, is called at the end of each Close.
	OnClosed func()
}

// Engine sends commands. All methods are safe for concurrent use. The caller must close it.
type Engine struct {
	cfg        Config
	cluster    *ClusterConfig     // nil: no cluster
	budget     *budget.Budget     // of the sockets to all nodes; nil: no limit
	ordinals   multislot.Ordinals // of the primaries of a cluster, in cursors
	nodes      *nodes
	router     router
	hub        *pubsub.Hub
	closed     atomic.Bool
	callbacks  atomic.Int32 // running calls of OnEvent
	multi      atomic.Bool  // the server accepted MULTI from the engine's user
	replySizes replysize.Memory
	vocabulary *vocabulary.Learner
	users      *identity.Users
	identities *identity.Switcher
	waits      waits
	scripts    scripts
	refusals   refusal.Reader
	reach      atomic.Pointer[Reach]
	changing   sync.Mutex       // held by Reconfigure
	renewer    *renewal.Renewer // nil if Config.Credentials is nil
}

// New returns an engine. It opens no connection: the first use, or Warm, does.
func New(cfg Config) *Engine { return newEngine(cfg, nil) }

// At returns an engine for the node at addr alone, for commands about the node. It uses the connections of e to that node,
// within their bound, and waits for one like the callers of e. If e does not use the node, it opens connections while
// commands need them, and in a cluster within MaxTotal as far as the primaries leave places. The caller must close it
// before e.
func (e *Engine) At(addr string) *Engine {
	cfg := e.cfg
	cfg.Addr, cfg.Sentinels, cfg.OwnSentinels, cfg.Cluster, cfg.Service = addr, nil, false, nil, Service{}
	cfg.Credentials, cfg.OnEvent, cfg.OnClosed = nil, nil, nil // those of e apply to the connections
	return newEngine(cfg, e)
}

// newEngine returns an engine. of, if not nil, owns the pool of its only node.
func newEngine(cfg Config, of *Engine) *Engine {
	e := &Engine{cfg: cfg, cluster: cfg.Cluster}
	e.refusals = refusal.Reader{WantsPrimary: cfg.Service.Role == Primary || cfg.Cluster != nil, Cluster: cfg.Cluster != nil}
	e.reach.Store(&Reach{cfg.Dial.Network, cfg.Addr, identity.Login{Username: cfg.Dial.Username, Password: cfg.Dial.Password}, cfg.TLS.ReportTo(events{e}.FilesChanged)})
	e.users = identity.NewUsers()
	e.vocabulary = vocabulary.New(vocabulary.Config{
		Place: e.place(), ReplyLimit: cfg.Pool.Lane.ReplyLimit, WaitLimit: cfg.Pool.WaitTimeout, Ask: e.askAboutCommands,
	})
	e.renewer = renewal.New(cfg.Credentials, ownConnections{e}, cfg.Dial.ConnectTimeout, events{e}.Renewed)
	e.identities = identity.New(&e.cfg.Dial, e.renewer, e.users)
	if cfg.Cluster != nil && cfg.Cluster.MaxTotal > 0 {
		e.budget = budget.New(cfg.Cluster.MaxTotal)
	}
	if e.nodes = newNodes(e.newPool, cfg.Pool.Max); of != nil {
		e.nodes.owner = of.nodes
	}
	switch {
	case cfg.Cluster != nil:
		e.router = newClusterRouter(e)
	case cfg.Sentinels != nil:
		e.router = newSentinelRouter(e)
		cfg.Sentinels.Join(events{e})
	default:
		e.router = newFixedRouter(e)
	}
	e.hub = e.newHub(Identity{})
	e.waits.init(e)
	return e
}

// place returns the name of the service, or the address, for errors.
func (e *Engine) place() string {
	switch {
	case e.cfg.Sentinels != nil:
		return e.cfg.Service.Name
	case e.cfg.Cluster != nil:
		return "cluster of " + e.cfg.Cluster.Seeds[0]
	}
	return e.reach.Load().Addr
}

// newPool returns the pool of the node at addr. peer stores the answers of its handshakes.
func (e *Engine) newPool(addr string, peer *wire.Peer, suspended bool) *pool.Pool {
	cfg := e.cfg.Pool
	to := e.destination(e.reach.Load(), addr, peer)
	cfg.Addr, cfg.Dial, cfg.Suspended, cfg.Budget = to.Addr, to.Dial, suspended, e.budget
	cfg.SwitchIdentity, cfg.Restore = e.identities.Switch, e.identities.Restore
	cfg.OnDisowned, cfg.Wanted = e.users.Disowned, e.users.Known
	if e.cfg.OnEvent != nil {
		cfg.OnEvent = func(p pool.Event) {
			e.emit(Event{Kind: EventKind(p.Kind), Addr: p.Addr, Class: p.Class, Duration: p.Duration,
				Reason: p.Reason, Err: WrapError(p.Err), Stack: p.Stack})
		}
	}
	cfg.OnTrouble = func(error) { e.router.lost(addr) }
	return pool.New(cfg)
}

// askAboutCommands sends a query about commands. It does not record the size of the reply in replySizes, because every
// later command would then look up its size.
func (e *Engine) askAboutCommands(ctx context.Context, args []any, size int) ([]byte, error) {
	raw, err := resp.AppendCommand(nil, args)
	if err != nil {
		return nil, err
	}
	got := e.exchange(pool.Observe(ctx), Identity{}, request{raw: raw, reads: true}, nil, func(l *lane.Lane, _ []byte, _ int, opt lane.Options) ([][]byte, error) {
		opt.ReplyBytes = size
		frame, err := l.Do(ctx, args, opt)
		return [][]byte{frame}, err
	})
	if got.err != nil {
		return nil, got.err
	}
	return got.frames[0], nil
}

// Lookup returns the description of a command that the table lacks. It does not block.
func (e *Engine) Lookup(args [][]byte) (*command.Info, command.Known) {
	return e.vocabulary.FindBytes(args)
}

// Learn queries the server about a command if Lookup returned NotAsked. It uses the leased connection on, if not nil,
// because that may be the only one. If the server refuses to answer, there is no error.
func (e *Engine) Learn(ctx context.Context, args [][]byte, on *Lease) error {
	name, ok := command.QueryNameBytes(args)
	switch {
	case !ok:
		return nil
	case on != nil && on.conn.Identity().User == "":
		return WrapError(e.vocabulary.LearnOn(ctx, on.Lane(), name))
	}
	return WrapError(e.vocabulary.Learn(ctx, name))
}

// Warm opens the lanes (in a cluster, one for each primary) and the idle connections that the configuration keeps ready. It blocks until
// they are open, ctx ends, or a dial fails, and returns that error. It also waits for a router to find nodes, for at
// most the connect timeout.
func (e *Engine) Warm(ctx context.Context) error {
	for {
		list, err := e.awaitFirst(ctx)
		if err != nil {
			return WrapError(err)
		}
		if e.budget != nil {
			if err := (totalError{len(list), e.budget.Total(), e.cfg.Service.Role}); err.tooLow() {
				return WrapError(fmt.Errorf("respool: open the %s: %w", e.place(), err))
			}
		}
		err = e.warmAll(ctx, list)
		if err == nil {
			e.warmReaders(ctx)
		}
		left := errors.Is(err, pool.ErrClosed) && !e.closed.Load() // a node that the route does not contain any more
		if !left && !errors.Is(err, pool.ErrSuspended) {
			return WrapError(err)
		}
	}
}

// warmReaders opens the lanes of the replicas of a cluster, if reads go to them. It ignores failures: reads go elsewhere
// until the replica is well.
func (e *Engine) warmReaders(ctx context.Context) {
	others := e.nodes.now.Load().others
	if len(others) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, e.cluster.QueryTimeout)
	defer cancel()
	var next atomic.Int32
	var opening sync.WaitGroup
	for range min(warmAtOnce, len(others)) {
		opening.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(others); i = int(next.Add(1)) - 1 {
				_ = others[i].pool.Readers().WarmLanes(ctx, 1)
			}
		})
	}
	opening.Wait()
}

// warmAtOnce is the number of nodes to which Warm opens connections at the same time.
const warmAtOnce = 16

// warmAll opens the connections of nodes. In a cluster it opens one lane to each, because most nodes need no other. After a
// failure it begins with no further node.
func (e *Engine) warmAll(ctx context.Context, list []*node) error {
	lanes := math.MaxInt
	if e.cluster != nil {
		lanes = 1
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var next atomic.Int32
	var first atomic.Pointer[error]
	var opening sync.WaitGroup
	for range min(warmAtOnce, len(list)) {
		opening.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(list) && first.Load() == nil; i = int(next.Add(1)) - 1 {
				if err := list[i].pool.WarmLanes(ctx, lanes); err != nil {
					first.CompareAndSwap(nil, &err)
					cancel() // the errors that this causes come later
				}
			}
		})
	}
	opening.Wait()
	if err := first.Load(); err != nil {
		return *err
	}
	return nil
}

// awaitFirst waits for the first route. It returns early if the router reports that waiting does not help.
func (e *Engine) awaitFirst(ctx context.Context) ([]*node, error) {
	if d := e.cfg.Dial.ConnectTimeout; d > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, d, &wire.TimeoutError{
			Text: fmt.Sprintf("none was found within the connect timeout of %v", d)})
		defer cancel()
	}
	e.router.start()
	for {
		r := e.nodes.now.Load()
		switch list := r.nodes(); {
		case len(list) > 0:
			return list, nil
		case r.closed:
			return nil, ErrClosed
		}
		if err := e.router.hopeless(r); err != nil {
			return nil, err
		}
		select {
		case <-r.changed:
		case <-ctx.Done():
			return nil, e.router.explain(context.Cause(ctx))
		}
	}
}

// Close stops admission, wakes all waiters with ErrClosed, lets commands in flight and leased connections finish
// until ctx ends, and cuts the rest. It returns the error of ctx if it had to cut something. Further calls wait for
// the same end.
//
// Within OnEvent, and within a function of Logins.OnDisowned, it does not wait, because the goroutine that runs them
// must end as well. It returns nil at once, and closing continues in the background until ctx's deadline.
func (e *Engine) Close(ctx context.Context) error {
	e.closed.Store(true)
	if !e.InCallback() {
		return e.close(ctx)
	}
	ctx, cancel := Detached(ctx)
	go func() {
		defer cancel()
		_ = e.close(ctx)
	}()
	return nil
}

// Clustered reports whether commands go to the nodes of a cluster.
func (e *Engine) Clustered() bool { return e.cluster != nil }

// Closed reports whether Close was called.
func (e *Engine) Closed() bool { return e.closed.Load() }

func (e *Engine) close(ctx context.Context) error {
	e.renewer.Stop()
	e.router.stop()
	e.waits.close(ctx)
	e.hub.Close(ctx)
	e.users.Close(ctx)
	err := e.nodes.close(ctx)
	e.waits.slow.Wait()
	e.vocabulary.Close() // its queries have ended with the pools
	if e.cfg.OnClosed != nil {
		defer e.cfg.OnClosed()
	}
	if e.cfg.Sentinels == nil {
		return err
	}
	e.cfg.Sentinels.Leave(events{e})
	if e.cfg.OwnSentinels {
		if failed := e.cfg.Sentinels.Close(ctx); failed != nil {
			return failed
		}
	}
	return err
}

// Resize changes the bound of each node. n is 1 or more. If n is lower, it closes idle connections at once, drains
// lanes, and closes leased connections when they are returned. It does not wait for that.
func (e *Engine) Resize(n int) error {
	if e.closed.Load() {
		return ErrClosed
	}
	if e.nodes.owner != nil {
		return nil // its bound is that of the other engine
	}
	e.nodes.resize(&e.nodes.max, n)
	e.waits.keys.Again()
	return nil
}

// Restrict lowers the bound of each node to n sockets, because another process uses the rest: 0 makes all callers wait. It
// closes connections as Resize does, and does not wait. Resize still sets the bound, which applies again after Unrestrict.
func (e *Engine) Restrict(n int) {
	if e.closed.Load() || e.nodes.owner != nil {
		return
	}
	e.nodes.resize(&e.nodes.most, n)
	e.waits.keys.Again()
}

// RestrictTotal is Restrict for the sockets to all nodes of a cluster together, if they have a limit. Each primary keeps one.
func (e *Engine) RestrictTotal(n int) {
	if e.budget == nil || e.closed.Load() {
		return
	}
	for _, wake := range e.budget.Reserve(e.budget.Total() - n) {
		wake()
	}
}

// Total returns the limit of the sockets to all nodes together, and how many of them are free for another process because of
// RestrictTotal; 0: there is no limit.
func (e *Engine) Total() (limit, free int) {
	if e.budget == nil {
		return 0, 0
	}
	return e.budget.Total(), e.budget.Reserved()
}

// Unrestrict ends the effect of Restrict and of RestrictTotal.
func (e *Engine) Unrestrict() {
	e.Restrict(math.MaxInt)
	e.RestrictTotal(math.MaxInt)
}

// Change is a change of a running engine. Fields with the zero value change nothing.
type Change struct {
	Reach *Reach
	Max   int // sockets to each node
	Lanes int
	// Drain limits how long the connections to a server that another one replaces may wait for pending replies.
	Drain time.Duration
}

// Reconfigure changes a running engine. Before it changes Reach, it opens a connection as the new one says, within the
// bound, and closes it. If that fails, it changes nothing and returns the error. ctx limits this attempt. Then it returns
// at once, and the connections follow: lanes close when they have no pending reply, leased ones when they are returned.
// If another server replaces the present one, connections close as at a failover, leased ones included: they send no
// other command. At no time are there more sockets than the bound, old and new ones together.
func (e *Engine) Reconfigure(ctx context.Context, c Change) error {
	e.changing.Lock()
	defer e.changing.Unlock()
	if e.closed.Load() {
		return ErrClosed
	}
	if r := c.Reach; r != nil {
		mine := *r
		mine.TLS = r.TLS.ReportTo(events{e}.FilesChanged)
		if err := e.try(ctx, &mine); err != nil {
			return WrapError(err)
		}
		e.use(&mine, c.Drain)
	}
	if c.Max > 0 {
		_ = e.Resize(c.Max)
	}
	if c.Lanes > 0 {
		e.nodes.setLanes(c.Lanes)
	}
	return nil
}

// Reconnect replaces the connections to all nodes. Each one closes when it has no pending reply. It does not wait.
func (e *Engine) Reconnect() {
	for _, n := range e.nodes.list() {
		n.pool.Redial("reconnect")
	}
	e.waits.renew()
}

// Greeting returns the server's last reply to HELLO in a handshake; nil before the first. The pointer changes with
// each handshake. The caller must not modify the value.
func (e *Engine) Greeting() *resp.Value {
	for _, n := range e.nodes.now.Load().nodes() {
		if v := n.peer.Greeting(); v != nil {
			return v
		}
	}
	return nil
}

// NoReplyTimeout reports whether no reply timeout is configured.
func (e *Engine) NoReplyTimeout() bool { return e.cfg.NoReplyTimeout }

// subpool returns the node's subpool for an identity.
func (n *node) subpool(id Identity) *pool.Subpool {
	switch id {
	case Identity{}:
		return n.pool.Zero()
	case Identity{Replica: true}:
		return n.pool.Readers()
	}
	return n.pool.Subpool(id)
}

// laneOf picks a lane of a subpool, or waits for one. check, if not nil, runs before that wait and returns an error
// for arguments that cannot be encoded.
func laneOf(ctx context.Context, g *pool.Subpool, w pool.Weight, check func() error) (*lane.Lane, lane.Options, error) {
	if l := g.Pick(w); l != nil {
		return l, lane.Options{Owner: g.Owner()}, nil
	}
	if check != nil {
		if err := check(); err != nil {
			return nil, lane.Options{}, err
		}
	}
	l, err := g.Shared(ctx)
	return l, lane.Options{Reserved: true}, err
}
