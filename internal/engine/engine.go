// Package engine sends commands to the nodes of one server or service. It picks the node, waits for it
// where none is known, and decides whether a command that failed is sent again. The public client and
// the gateway are two users of it with equal rights.
//
// An engine does not parse URLs, convert replies or speak to clients of the gateway.
//
// An Engine owns the pools of its nodes, its router, its subscriptions, its renewals of credentials and its
// questions about commands. Their goroutines have ended when Close returns.
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

// Identity is the user, the database and the protocol of a connection. Its user is one that Verify returned, or
// empty for the engine's own. The zero Identity is what the engine is configured with.
type Identity = pool.Identity

// Config is what an engine works with. Every field is set: defaults are the caller's. Durations of 0 switch a
// limit off.
type Config struct {
	// Addr is the address of the one server. Empty where Sentinels find the nodes of Service.
	Addr      string
	Sentinels *Sentinels
	// OwnSentinels has Close close Sentinels as well.
	OwnSentinels bool
	Service      Service

	// Dial is what all connections have in common. Addr, TLS, Peer and Credentials are the engine's.
	Dial wire.Config
	// TLS encrypts connections; nil: none.
	TLS *TLS
	// Credentials are asked for at each dial and before they expire; nil: those of Dial hold.
	Credentials func(ctx context.Context) (Credentials, error)
	// Pool is what the pools of all nodes have in common. What a pool calls back is the engine's.
	Pool pool.Config
	// Subscriptions is what all subscriptions have in common. Addr and Ping are the engine's.
	Subscriptions pubsub.Config

	// Retries is how often a command that only reads is sent again after it was sent.
	Retries int
	// NoReplyTimeout says that nobody has set a timeout for replies: a command of a gateway's client waits as
	// long as its client does.
	NoReplyTimeout bool
	// OnEvent hears of what happens; nil: nobody does. It is called concurrently and must not block. It may call
	// any method of the engine; Close does not wait there.
	OnEvent func(Event)
}

// place is where the engine leads, for errors.
func (c *Config) place() string {
	if c.Sentinels != nil {
		return c.Service.Name
	}
	return c.Addr
}

// Engine sends commands. All its methods are safe for concurrent use. It has to be closed.
type Engine struct {
	cfg          Config
	nodes        *nodes
	router       router
	hub          *pubsub.Hub
	closed       atomic.Bool
	callbacks    atomic.Int32 // calls of OnEvent that run now
	multi        atomic.Bool  // the server lets the engine's user run transactions
	largeReplies largeReplies
	vocabulary   vocabulary
	users        users
	renewer      *renewer // nil without Config.Credentials

	ownRefused atomic.Int64 // when the server last refused the engine's own user, in Unix nanoseconds; 0: never
}

// New makes an engine. It opens no connection: that happens at the first use, or in Warm.
func New(cfg Config) *Engine {
	e := &Engine{cfg: cfg}
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
	return e
}

// newHub makes the hub of the subscriptions on connections of an identity.
func (e *Engine) newHub(id Identity) *pubsub.Hub {
	cfg := e.cfg.Subscriptions
	cfg.Addr, cfg.Ping = e.cfg.place(), id.Ping()
	return pubsub.New(subscriberSource{e, id}, cfg)
}

// newPool makes the pool of the node at addr. peer keeps what its handshakes learn.
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

// Warm opens the lanes and the idle connections that are kept ready, a few at a time. It blocks until they
// stand, ctx ends, or a dial fails, whose error it returns. Where nodes have to be found it waits for that as well,
// for at most the connect timeout.
func (e *Engine) Warm(ctx context.Context) error {
	for {
		list, err := e.awaitFirst(ctx)
		if err != nil {
			return WrapError(err)
		}
		err = warmAll(ctx, list)
		if !errors.Is(err, pool.ErrSuspended) { // else there is another node by now
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

// awaitFirst waits for the first route, and gives up before ctx ends where the router has no hope.
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

// Close stops admission, wakes everyone who waits with ErrClosed, lets what is in flight or leased come to
// its end until ctx ends, and then cuts it. It returns the error of ctx if something had to be cut. Closing again
// waits for the same end.
//
// Within OnEvent it does not wait, since the goroutine there is one of those that have to end: it
// returns nil at once, and closing goes on in the background, bounded by ctx's deadline.
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
	e.hub.Close(ctx)
	e.users.close(ctx)
	err := e.nodes.close(ctx)
	e.vocabulary.close() // its questions end with the pools
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

// Resize changes the bound of each node while the engine runs. n is 1 or more. Downwards it closes
// idle connections at once, drains lanes, and closes leased connections when they come back. It does not wait for
// that.
func (e *Engine) Resize(n int) error {
	if e.closed.Load() {
		return ErrClosed
	}
	e.nodes.resize(n)
	return nil
}

// Reconnect replaces the connections to all nodes, each once no reply is pending on it.
func (e *Engine) Reconnect() {
	for _, n := range e.nodes.list() {
		n.pool.Renew("renewed")
	}
}

// NoReplyTimeout reports whether nobody has set a timeout for replies.
func (e *Engine) NoReplyTimeout() bool { return e.cfg.NoReplyTimeout }

// group is the part of the node's pool for an identity.
func (n *node) group(id Identity) *pool.Subpool {
	if id == (Identity{}) {
		return n.pool.Zero()
	}
	return n.pool.Subpool(id)
}

// laneOf picks a lane of a group, or waits for one. check, if given, finds arguments that can't be sent before that wait.
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

// reauthLimit bounds the wait for one connection to authenticate again: for its turn, and for the answer.
const reauthLimit = 5 * time.Second
