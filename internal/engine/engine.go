// Package engine sends commands to the nodes of one server or service. It picks a node, waits until one is known,
// retries failed commands, lets blocking commands wait, leases connections, and subscribes. Its two users are the public client and the gateway.
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
	"sync/atomic"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/pool"
	"github.com/seed-2b0d76a6/respool/internal/pubsub"
	"github.com/seed-2b0d76a6/respool/internal/wire"
)

// Identity is the user, the database and the protocol of a connection. User is a name that Verify returned, or empty
// for the engine's own user. The zero Identity is the engine's own identity.
type Identity = pool.Identity

// Config configures an engine. The caller sets every field, including the defaults. A duration of 0 disables its
// limit.
type Config struct {
	// Addr is the address of a single server. It is empty if Sentinels find the nodes of Service.
	Addr      string
	Sentinels *Sentinels
	// OwnSentinels: Close closes Sentinels as well.
	OwnSentinels bool
	Service      Service

	// Dial configures all connections. The engine sets Addr, TLS, Peer and Credentials.
	Dial wire.Config
	// TLS configures encryption; nil: no TLS.
	TLS *TLS
	// Credentials provides the credentials for each dial, and new ones before they expire; nil: those in Dial apply.
	Credentials func(ctx context.Context) (Credentials, error)
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

// place returns the name of the service, or the address, for errors.
func (c *Config) place() string {
	if c.Sentinels != nil {
		return c.Service.Name
	}
	return c.Addr
}

// Engine sends commands. All methods are safe for concurrent use. The caller must close it.
type Engine struct {
	cfg          Config
	nodes        *nodes
	router       router
	hub          *pubsub.Hub
	closed       atomic.Bool
	callbacks    atomic.Int32 // running calls of OnEvent
	multi        atomic.Bool  // the server accepted MULTI from the engine's user
	largeReplies largeReplies
	vocabulary   vocabulary
	users        users
	waits        waits
	refusals     refusalReader
	renewer      *renewer // nil if Config.Credentials is nil
	ownLogin     ownLogin
}

// New returns an engine. It opens no connection: the first use, or Warm, does.
func New(cfg Config) *Engine {
	e := &Engine{cfg: cfg, refusals: refusalReader{wantsPrimary: cfg.Service.Role == Primary}}
	if cfg.TLS != nil {
		e.cfg.TLS = cfg.TLS.reportTo(e.emit)
	}
	e.users.init()
	e.vocabulary.init(e)
	e.renewer = newRenewer(cfg.Credentials, ownConnections{e}, cfg.Dial.ConnectTimeout, e.renewed)
	e.nodes = newNodes(e.newPool)
	if cfg.Sentinels == nil {
		e.router = newFixedRouter(e)
	} else {
		e.router = newSentinelRouter(e)
		cfg.Sentinels.join(e)
	}
	e.hub = e.newHub(Identity{})
	e.waits.init(e)
	return e
}

// newHub returns a hub for the subscriptions of an identity.
func (e *Engine) newHub(id Identity) *pubsub.Hub {
	cfg := e.cfg.Subscriptions
	cfg.Addr, cfg.Ping = e.cfg.place(), id.Ping()
	return pubsub.New(subscriberSource{e, id}, cfg)
}

// newPool returns the pool of the node at addr. peer stores the answers of its handshakes.
func (e *Engine) newPool(addr string, peer *wire.Peer, suspended bool) *pool.Pool {
	dial := e.cfg.Dial
	dial.Addr, dial.Peer, dial.Credentials = addr, peer, e.renewer.login()
	cfg := e.cfg.Pool
	cfg.Addr, cfg.Suspended = addr, suspended
	cfg.Dial = func(ctx, cut context.Context, id Identity) (*wire.Conn, error) {
		with := dial
		with.TLS = e.cfg.TLS.config(addr)
		conn, err := e.dial(ctx, cut, with, id)
		if err == nil {
			e.vocabulary.dialed(addr, conn.Server())
		}
		return conn, err
	}
	cfg.SwitchIdentity, cfg.Restore = e.switchIdentity, e.restore
	cfg.OnDisowned, cfg.Wanted = e.users.disowned, e.users.known
	if e.cfg.OnEvent != nil {
		cfg.OnEvent = func(p pool.Event) {
			e.emit(Event{Kind: EventKind(p.Kind), Addr: p.Addr, Class: p.Class, Duration: p.Duration,
				Reason: p.Reason, Err: WrapError(p.Err), Stack: p.Stack})
		}
	}
	cfg.OnTrouble = func(error) { e.router.lost(addr) }
	return pool.New(cfg)
}

// Warm opens the lanes and the idle connections that the configuration keeps ready, a few at a time. It blocks until
// they are open, ctx ends, or a dial fails, and returns that error. It also waits for a router to find nodes, for at
// most the connect timeout.
func (e *Engine) Warm(ctx context.Context) error {
	for {
		list, err := e.awaitFirst(ctx)
		if err != nil {
			return WrapError(err)
		}
		err = warmAll(ctx, list)
		if !errors.Is(err, pool.ErrSuspended) { // else the route has changed
			return WrapError(err)
		}
	}
}

func warmAll(ctx context.Context, list []*node) error {
	for _, n := range list {
		if err := n.pool.Warm(ctx); err != nil {
			return err
		}
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
// Within OnEvent, and within a function of OnDisowned, it does not wait, because the goroutine that runs them must end
// as well. It returns nil at once, and closing continues in the background until ctx's deadline.
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

// Closed reports whether Close was called.
func (e *Engine) Closed() bool { return e.closed.Load() }

func (e *Engine) close(ctx context.Context) error {
	e.renewer.stop()
	e.router.stop()
	e.waits.close(ctx)
	e.hub.Close(ctx)
	e.users.close(ctx)
	err := e.nodes.close(ctx)
	e.waits.slow.Wait()
	e.vocabulary.close() // its queries have ended with the pools
	if e.cfg.OnClosed != nil {
		defer e.cfg.OnClosed()
	}
	if e.cfg.Sentinels == nil {
		return err
	}
	e.cfg.Sentinels.leave(e)
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
	e.nodes.resize(n)
	e.waits.keys.Again()
	return nil
}

// Reconnect replaces the connections to all nodes. Each one closes when it has no pending reply. It does not wait.
func (e *Engine) Reconnect() {
	for _, n := range e.nodes.list() {
		n.pool.Redial("reconnect")
	}
	e.waits.moved()
}

// NoReplyTimeout reports whether no reply timeout is configured.
func (e *Engine) NoReplyTimeout() bool { return e.cfg.NoReplyTimeout }

// subpool returns the node's subpool for an identity.
func (n *node) subpool(id Identity) *pool.Subpool {
	if id == (Identity{}) {
		return n.pool.Zero()
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

// reauthLimit limits the time for one connection to authenticate again: the wait for its turn, and for the reply.
const reauthLimit = 5 * time.Second
