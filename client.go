// Package respool is a Redis client whose connections are bounded: any number
// of goroutines work over a small, fixed number of sockets.
//
// Commands share a few pipelined connections, the lanes. What needs a
// connection of its own (blocking commands, WATCH, Acquire) is lent one, and
// waits in line for it; subscriptions share one. Every socket counts against
// Options.MaxConnections, from before its dial until the server has closed
// its side.
//
//	client, err := respool.Open(ctx, "redis://localhost:6379?max_connections=16")
//	if err != nil { ... }
//	defer client.Close(ctx)
//
//	err = client.Do(ctx, "SET", "name", "value", "EX", 60).Err()
//	name, err := client.Do(ctx, "GET", "name").Text()
package respool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/command"
	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/pool"
	"github.com/seed-2b0d76a6/respool/internal/pubsub"
	"github.com/seed-2b0d76a6/respool/internal/topology/sentinel"
	"github.com/seed-2b0d76a6/respool/internal/wire"
	"github.com/seed-2b0d76a6/respool/resp"
)

// Version is told to servers as lib-ver.
const Version = "0.1.0"

// Client carries the commands of any number of goroutines to one server. All
// its methods are safe for concurrent use. Make it with New or Open, and
// close it.
type Client struct {
	opt     Options
	nodes   *nodes
	finder  *finder // of the right nodes; nil where there is one server
	hub     *pubsub.Hub
	tls     *liveTLS
	closed  atomic.Bool
	telling atomic.Int32 // calls of OnEvent that run now
	multi   atomic.Bool  // the server lets this user run transactions
	sizes   sizes
	lexicon lexicon // of commands that the table lacks
	guests  guests  // the gateway's view

	renewer *renewer // nil without Options.Credentials
}

// New makes a client. It checks all options and opens no connection: that
// happens at the first use, or in Warm.
func New(opt Options) (*Client, error) {
	opt, err := opt.withDefaults()
	if err != nil {
		return nil, err
	}
	if opt.Sentinel == nil {
		return newClient(opt, nil, false)
	}
	s, err := NewSentinel(*opt.Sentinel)
	if err != nil {
		return nil, err
	}
	return newClient(opt, s, true)
}

// newClient makes a client of options that are complete. Where it finds its
// nodes through s, owned says that nobody else does.
func newClient(opt Options, s *Sentinel, owned bool) (*Client, error) {
	c := &Client{opt: opt}
	var err error
	if c.tls, err = newLiveTLS(opt.TLS, opt.TLSFiles, c.emit); err != nil {
		return nil, err
	}
	c.guests.init(c)
	c.lexicon.init(c)
	c.renewer = newRenewer(opt.Credentials, ownConnections{c}, limit(opt.ConnectTimeout), c.renewed)
	c.nodes = newNodes(c.newPool)
	if s == nil {
		c.nodes.settle(opt.Addr)
	} else {
		c.finder = newFinder(c, s, owned)
		if owned {
			s.owner = c
		}
	}
	c.hub = c.newHub(pool.Key{})
	return c, nil
}

// newHub makes the hub of the subscriptions on connections of a key.
func (c *Client) newHub(key pool.Key) *pubsub.Hub {
	opt := &c.opt
	return pubsub.New(subscriberSource{c, key}, pubsub.Config{
		Addr: opt.place(), Buffer: opt.SubscriptionBuffer, HealthCheck: limit(opt.HealthCheckInterval), Ping: key.Ping(),
		ReconnectBase: opt.BackoffBase, ReconnectCap: opt.BackoffCap,
		ReplyTimeout: limit(opt.SocketTimeout), StallLimit: limit(opt.StallLimit),
	})
}

// Open is ParseURL, New and Warm: it returns when the lanes and MinIdle
// connections stand, or with the first failure.
func Open(ctx context.Context, url string) (*Client, error) {
	opt, err := ParseURL(url)
	if err != nil {
		return nil, err
	}
	c, err := New(opt)
	if err != nil {
		return nil, err
	}
	if err := c.Warm(ctx); err != nil {
		_ = c.Close(ctx)
		return nil, err
	}
	return c, nil
}

// String tells where the client leads, without a password.
func (c *Client) String() string { return "respool.Client{" + c.Stats().String() + "}" }

// GoString is String, so that %#v shows no password.
func (c *Client) GoString() string { return c.String() }

// limit turns Never into the engine's 0.
func limit(d time.Duration) time.Duration {
	if d == Never {
		return 0
	}
	return d
}

// staleAfter is how long an idle connection may be quiet before it is pinged ahead of its use. Balancers
// and firewalls drop connections that were quiet for minutes; a ping costs a round trip.
const staleAfter = 3 * time.Second

// suspectAfter is how long a connection may be silent with replies due before the server is asked
// on another one whether it works: longer than most commands take, and short beside the stall limit.
func suspectAfter(stall time.Duration) time.Duration {
	return min(stall, time.Second, max(stall/8, 50*time.Millisecond))
}

// newPool makes the pool of the node at addr. What its handshakes learn, peer keeps.
func (c *Client) newPool(addr string, peer *wire.Peer, suspended bool) *pool.Pool {
	opt := &c.opt
	dial := &wire.Config{
		Network: opt.Network, Addr: addr,
		Username: opt.Username, Password: opt.Password, Credentials: c.renewer.login(),
		DB: opt.DB, Protocol: opt.Protocol, ClientName: opt.ClientName,
		LibName: "respool", LibVersion: Version,
		Peer: peer, ConnectTimeout: limit(opt.ConnectTimeout), KeepAlive: limit(opt.KeepAlive),
		LingerLimit: opt.LingerLimit, DialFunc: opt.Dialer,
	}
	cfg := pool.Config{
		Addr: addr, Suspended: suspended,
		Dial: func(ctx, cut context.Context, key pool.Key) (*wire.Conn, error) {
			with := *dial
			with.TLS = c.tls.config(addr)
			conn, err := c.guests.dial(ctx, cut, with, key)
			if err == nil {
				c.lexicon.dialed(addr, conn.Server())
			}
			return conn, err
		},
		Recast: c.guests.recast, Restore: c.guests.restore,
		Lane: lane.Config{
			ReplyTimeout: limit(opt.SocketTimeout), StallLimit: limit(opt.StallLimit),
			SuspectAfter: suspectAfter(opt.StallLimit), Window: opt.WindowCommands, WindowBytes: opt.WindowBytes,
			ReplyLimit: opt.ReplyLimit, LingerLimit: opt.LingerLimit,
		},
		Max: opt.MaxConnections, Lanes: opt.Lanes, MinIdle: opt.MinIdle, MaxWaiters: opt.MaxWaiters,
		WaitTimeout: opt.WaitTimeout, IdleTimeout: limit(opt.IdleTimeout), MaxLifetime: limit(opt.MaxLifetime),
		HealthCheck: limit(opt.HealthCheckInterval), StaleAfter: staleAfter, DialParallel: opt.DialParallel, DialRate: opt.DialRate,
		BackoffBase: opt.BackoffBase, BackoffCap: opt.BackoffCap,
		LeakThreshold: limit(opt.LeakThreshold), OnEvent: c.eventHook(opt.OnEvent),
		OnDisowned: c.guests.disowned, Wanted: c.guests.known,
	}
	if c.finder != nil {
		cfg.OnTrouble = func(error) { c.finder.evidence(sentinel.NodeLost, addr) }
	}
	return pool.New(cfg)
}

// Warm opens the lanes and the MinIdle connections ahead of their use, a few
// at a time and spread a little. It blocks until they stand, ctx ends, or a
// dial fails, whose error it returns. Where sentinels tell the node it waits
// for that as well, for at most Options.ConnectTimeout.
func (c *Client) Warm(ctx context.Context) error {
	for {
		list := c.nodes.now.Load().nodes()
		if c.finder != nil {
			var err error
			if list, err = c.awaitFirst(ctx); err != nil {
				return err
			}
		}
		err := warmAll(ctx, list)
		if !errors.Is(err, pool.ErrSuspended) { // else there is another node by now
			return c.public(err)
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

func (c *Client) awaitFirst(ctx context.Context) ([]*node, error) {
	if d := limit(c.opt.ConnectTimeout); d > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, d, &wire.TimeoutError{
			Text: fmt.Sprintf("none was found within the connect timeout of %v", d)})
		defer cancel()
	}
	return c.finder.awaitFirst(ctx)
}

// Close stops admission, wakes everyone who waits with ErrClosed, lets what is
// in flight or lent come to its end until ctx ends, and then cuts it. When it
// returns, the server counts none of the client's connections and none of its
// goroutines is left. It returns the error of ctx if something had to be cut.
// Closing again waits for the same end.
//
// Within Options.OnEvent it does not wait, since the goroutine there is one of those that have to end: it
// returns nil at once, and closing goes on in the background, bounded by ctx's deadline.
func (c *Client) Close(ctx context.Context) error {
	c.closed.Store(true)
	if !c.onEvent() {
		return c.close(ctx)
	}
	ctx, cancel := detached(ctx)
	go func() {
		defer cancel()
		_ = c.close(ctx)
	}()
	return nil
}

func (c *Client) close(ctx context.Context) error {
	c.renewer.stop()
	if c.finder != nil {
		c.finder.stop()
	}
	c.hub.Close(ctx)
	c.guests.close(ctx)
	err := c.nodes.close(ctx)
	c.lexicon.close() // its questions end with the pools
	if c.finder == nil {
		return err
	}
	c.finder.sentinels.forget(c)
	if c.finder.owned {
		if e := c.finder.sentinels.closeLinks(ctx); e != nil {
			return e
		}
	}
	return err
}

// Do sends one command and waits for its reply. The arguments are strings,
// byte slices, numbers and booleans (1 and 0); they are not kept. The wait is
// bounded by ctx, by Options.WaitTimeout for a connection and by
// Options.SocketTimeout for the reply. It blocks no other caller.
//
// Of a command that the client does not know, the server is asked first what it does.
//
// Blocking commands such as BLPOP hold a connection of their own meanwhile,
// and their own timeout is added to the limit. Commands that change the state
// of a connection are refused with ErrStateful.
//
// A command that was not sent when a connection broke goes to another one;
// one that was sent is sent again only if it reads, Options.Retries times.
func (c *Client) Do(ctx context.Context, args ...any) Reply {
	if len(args) == 0 {
		return Reply{err: errNoArguments}
	}
	info, class := command.Classify(args)
	switch class {
	case command.Multiplexed:
		return c.doShared(ctx, args, info.ReadOnly)
	case command.Blocking:
		return c.doBlocking(ctx, info, args)
	case command.Unknown:
		return c.doUnknown(ctx, args)
	}
	return Reply{err: refusal(info)}
}

// refusal says why a command may not share a connection and what to do.
func refusal(info *command.Info) error {
	return fmt.Errorf("%w: %s: %s", ErrStateful, info.Name, info.Use)
}

// doShared runs a command on a lane.
func (c *Client) doShared(ctx context.Context, args []any, readOnly bool) Reply {
	slot := c.sizes.slot(args)
	weight, size := c.sizes.weight(args, slot)
	for t := (tries{}); ; {
		n, err := c.node(ctx, &t, readOnly)
		if err != nil {
			return Reply{err: c.public(err)}
		}
		l, opt, err := laneOf(ctx, n.pool.Zero(), weight, args)
		if err == nil {
			opt.ReplyBytes = size
			var frame []byte
			if frame, err = l.Do(ctx, args, opt); err == nil {
				if frame[0] == '-' && c.refusedCommand(ctx, n, l, args, frame, &t) {
					continue
				}
				if slot != nil || len(frame) >= large {
					c.sizes.learn(args, slot, len(frame))
				}
				return Reply{frame: frame}
			}
		}
		if !c.again(ctx, n, err, &t, readOnly) {
			return Reply{err: c.public(err)}
		}
	}
}

// group is the part of the node's pool for a key.
func (n *node) group(key pool.Key) *pool.Group {
	if key == (pool.Key{}) {
		return n.pool.Zero()
	}
	return n.pool.Group(key)
}

// laneOf picks a lane of a group, or waits for one; arguments that can't be sent, if
// given, fail before that.
func laneOf(ctx context.Context, g *pool.Group, w pool.Weight, args []any) (*lane.Lane, lane.Options, error) {
	if l := g.Pick(w); l != nil {
		return l, lane.Options{Owner: g.Owner()}, nil
	}
	if args != nil {
		if err := checkArgs(args); err != nil {
			return nil, lane.Options{}, err
		}
	}
	l, err := g.Shared(ctx)
	return l, lane.Options{Reserved: true}, err
}

// acquire has a conn of the right node lent by obtain. reads says that nothing
// will be written on it.
func (c *Client) acquire(ctx context.Context, t *tries, reads bool, obtain func(*pool.Pool, context.Context) (*pool.Conn, error)) (*pool.Conn, *node, error) {
	for {
		n, err := c.node(ctx, t, reads)
		if err != nil {
			return nil, nil, err
		}
		conn, err := obtain(n.pool, ctx)
		if err == nil {
			c.renewer.catchUp(ctx, conn.Lane())
		}
		if err == nil || c.finder == nil && !refusedDial(err) || !c.again(ctx, n, err, t, false) {
			return conn, n, err
		}
	}
}

// outcome is what came of commands on a connection that was lent for them.
type outcome struct {
	frames  [][]byte
	spoilt  string // why the connection is to be closed, if it is
	unsure  string // why nobody knows its state, if nobody does: it is to be restored
	partial bool   // something came of the reply: nothing is sent again
	err     error
}

// onLent has a connection of key lent for each attempt at the commands in raw, until it is answered for good.
func (c *Client) onLent(ctx context.Context, key pool.Key, raw []byte, reads bool, attempt func(*node, *pool.Conn) outcome) ([][]byte, error) {
	for t := (tries{}); ; {
		conn, n, err := c.acquire(ctx, &t, reads, acquireAs(key))
		if err != nil {
			return nil, err
		}
		got := attempt(n, conn)
		refused := got.err == nil && !got.partial && c.refusedBy(ctx, n, conn.Lane(), raw, got.frames)
		switch {
		case got.spoilt != "":
			conn.Destroy(got.spoilt)
		case got.unsure != "":
			conn.ReleaseDirty(got.unsure)
		default:
			conn.Release()
		}
		switch {
		case refused && c.pause(ctx, n, &t):
		case got.err == nil || got.partial || !c.again(ctx, n, got.err, &t, reads):
			return got.frames, got.err
		}
	}
}

// acquireAs has a connection of a key lent.
func acquireAs(key pool.Key) func(*pool.Pool, context.Context) (*pool.Conn, error) {
	return func(p *pool.Pool, ctx context.Context) (*pool.Conn, error) { return p.Group(key).Acquire(ctx) }
}

// doBlocking runs a command that the server may hold back, on a connection of
// its own.
func (c *Client) doBlocking(ctx context.Context, info *command.Info, args []any) Reply {
	raw, err := encode(args) // args may not escape: those of Do would
	if err != nil {
		return Reply{err: c.public(err)}
	}
	block := time.Duration(-1) // as long as it takes, where its timeout can't be told
	if d, forever, ok := command.BlockFor(info, args); ok && !forever {
		block = d
	}
	frames, err := c.onLent(ctx, pool.Key{}, raw, info.ReadOnly, func(_ *node, conn *pool.Conn) outcome {
		frames, err := conn.Lane().DoRaw(ctx, raw, 1, lane.Options{Block: block})
		got := outcome{frames: frames, err: err}
		switch {
		case sent(err):
			// The server may still be about to answer: an element popped for
			// nobody would be lost.
			got.spoilt = "its caller left a " + info.Name
		case err == nil && bytes.HasPrefix(frames[0], replyUnblocked):
			got.spoilt = "its server ended a command that blocked" // and is about to close it
		case err == nil && info.Effect == command.EffectTaint:
			got.spoilt = "its state may have been changed by " + info.Name
		}
		return got
	})
	if err != nil {
		return Reply{err: c.public(err)}
	}
	return Reply{frame: frames[0]}
}

// encode returns a command as it is sent. Where its arguments are strings, the first buffer is large enough.
func encode(args []any) ([]byte, error) {
	const format = len("$1000000\r\n\r\n")
	return resp.AppendCommand(make([]byte, 0, (1+len(args))*format+textSize(args)), args)
}

// checkArgs tells of arguments that can't be sent, before anything is waited for.
func checkArgs(args []any) error {
	usual := true
	for _, a := range args {
		switch a.(type) {
		case string, []byte, int, int64, float64:
		default:
			usual = false
		}
	}
	if usual && len(args) > 0 {
		return nil
	}
	_, err := resp.AppendCommand(nil, args)
	return err
}
