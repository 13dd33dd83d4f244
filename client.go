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
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/command"
	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/pool"
	"github.com/seed-2b0d76a6/respool/internal/pubsub"
	"github.com/seed-2b0d76a6/respool/internal/wire"
	"github.com/seed-2b0d76a6/respool/resp"
)

// Version is told to servers as lib-ver.
const Version = "0.1.0"

// Client carries the commands of any number of goroutines to one server. All
// its methods are safe for concurrent use. Make it with New or Open, and
// close it.
type Client struct {
	opt    Options
	pool   *pool.Pool
	hub    *pubsub.Hub
	closed atomic.Bool
	multi  atomic.Bool // the server lets this user run transactions
	sizes  sizes
	asked  sync.Map // names of commands that the table lacks -> *command.Info
}

// New makes a client. It checks all options and opens no connection: that
// happens at the first use, or in Warm.
func New(opt Options) (*Client, error) {
	opt, err := opt.withDefaults()
	if err != nil {
		return nil, err
	}
	c := &Client{opt: opt}
	c.pool = pool.New(c.poolConfig())
	c.hub = pubsub.New(c.pool, pubsub.Config{
		Addr: opt.Addr, Buffer: opt.SubscriptionBuffer, HealthCheck: limit(opt.HealthCheckInterval),
		ReconnectBase: opt.BackoffBase, ReconnectCap: opt.BackoffCap,
		ReplyTimeout: limit(opt.SocketTimeout), StallLimit: limit(opt.StallLimit),
	})
	return c, nil
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

func (c *Client) poolConfig() pool.Config {
	opt := &c.opt
	dial := &wire.Config{
		Network: opt.Network, Addr: opt.Addr, TLS: opt.TLS,
		Username: opt.Username, Password: opt.Password, Credentials: opt.Credentials,
		DB: opt.DB, Protocol: opt.Protocol, ClientName: opt.ClientName,
		LibName: "respool", LibVersion: Version,
		ConnectTimeout: limit(opt.ConnectTimeout), KeepAlive: limit(opt.KeepAlive),
		LingerLimit: opt.LingerLimit, DialFunc: opt.Dialer,
	}
	return pool.Config{
		Addr: opt.Addr,
		Dial: func(ctx, cut context.Context) (*wire.Conn, error) { return wire.Dial(ctx, cut, dial) },
		Lane: lane.Config{
			ReplyTimeout: limit(opt.SocketTimeout), StallLimit: limit(opt.StallLimit),
			Window: opt.WindowCommands, WindowBytes: opt.WindowBytes,
			ReplyLimit: opt.ReplyLimit, LingerLimit: opt.LingerLimit,
		},
		Max: opt.MaxConnections, Lanes: opt.Lanes, MinIdle: opt.MinIdle, MaxWaiters: opt.MaxWaiters,
		WaitTimeout: opt.WaitTimeout, IdleTimeout: limit(opt.IdleTimeout), MaxLifetime: limit(opt.MaxLifetime),
		HealthCheck: limit(opt.HealthCheckInterval), DialParallel: opt.DialParallel, DialRate: opt.DialRate,
		BackoffBase: opt.BackoffBase, BackoffCap: opt.BackoffCap,
		LeakThreshold: limit(opt.LeakThreshold), OnEvent: c.eventHook(opt.OnEvent),
	}
}

// Warm opens the lanes and the MinIdle connections ahead of their use, a few
// at a time and spread a little. It blocks until they stand, ctx ends, or a
// dial fails, whose error it returns.
func (c *Client) Warm(ctx context.Context) error {
	if err := c.pool.Warm(ctx); err != nil {
		return c.public(err)
	}
	return nil
}

// Close stops admission, wakes everyone who waits with ErrClosed, lets what is
// in flight or lent come to its end until ctx ends, and then cuts it. When it
// returns, the server counts none of the client's connections and none of its
// goroutines is left. It returns the error of ctx if something had to be cut.
// Closing again waits for the same end.
func (c *Client) Close(ctx context.Context) error {
	c.closed.Store(true)
	c.hub.Close(ctx)
	return c.pool.Close(ctx)
}

// Do sends one command and waits for its reply. The arguments are strings,
// byte slices, numbers and booleans (1 and 0); they are not kept. The wait is
// bounded by ctx, by Options.WaitTimeout for a connection and by
// Options.SocketTimeout for the reply. It blocks no other caller.
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

// maxMoves bounds how often a command that was never sent moves to another
// connection.
const maxMoves = 16

// tries counts what became of a command so far.
type tries struct{ moves, resends int }

// doShared runs a command on a lane.
func (c *Client) doShared(ctx context.Context, args []any, readOnly bool) Reply {
	slot := c.sizes.slot(args)
	weight, size := c.sizes.weight(args, slot)
	for t := (tries{}); ; {
		l, opt, err := c.lane(ctx, weight, args)
		if err != nil {
			return Reply{err: c.public(err)}
		}
		opt.ReplyBytes = size
		frame, err := l.Do(ctx, args, opt)
		if err == nil {
			if slot != nil || len(frame) >= large {
				c.sizes.learn(args, slot, len(frame))
			}
			return Reply{frame: frame}
		}
		if !c.again(err, &t, readOnly) {
			return Reply{err: c.public(err)}
		}
	}
}

// lane picks a lane, or waits for one; arguments that can't be sent, if given,
// fail before that.
func (c *Client) lane(ctx context.Context, w pool.Weight, args []any) (*lane.Lane, lane.Options, error) {
	if l := c.pool.Pick(w); l != nil {
		return l, lane.Options{}, nil
	}
	if args != nil {
		if err := checkArgs(args); err != nil {
			return nil, lane.Options{}, err
		}
	}
	l, err := c.pool.Shared(ctx)
	return l, lane.Options{Reserved: true}, err
}

// again decides whether a command whose connection failed may be sent on
// another one.
func (c *Client) again(err error, t *tries, readOnly bool) bool {
	if errors.Is(err, lane.ErrDraining) {
		return true // its lane is out of sight already
	}
	var we *wire.Error
	if !errors.As(err, &we) || ctxEnded(err) || we.Timeout() && !stalled(err) || c.closed.Load() {
		return false
	}
	if !we.Sent {
		t.moves++
		return t.moves <= maxMoves
	}
	t.resends++
	return readOnly && t.resends <= c.opt.Retries && !lane.BadReply(err)
}

// stalled reports whether the connection was condemned because nothing moved.
func stalled(err error) bool {
	var se *lane.StallError
	return errors.As(err, &se)
}

// doBlocking runs a command that the server may hold back, on a connection of
// its own.
func (c *Client) doBlocking(ctx context.Context, info *command.Info, args []any) Reply {
	if err := checkArgs(args); err != nil {
		return Reply{err: c.public(err)}
	}
	block := time.Duration(-1) // as long as it takes, where its timeout can't be told
	if d, forever, ok := command.BlockFor(info, args); ok && !forever {
		block = d
	}
	for t := (tries{}); ; {
		conn, err := c.pool.Acquire(ctx)
		if err != nil {
			return Reply{err: c.public(err)}
		}
		frame, err := conn.Lane().Do(ctx, args, lane.Options{Block: block})
		if err == nil {
			conn.Release()
			return Reply{frame: frame}
		}
		var we *wire.Error
		if errors.As(err, &we) && we.Sent {
			// The server may still be about to answer: an element popped for
			// nobody would be lost.
			conn.Destroy("its caller left a " + info.Name)
		} else {
			conn.Release()
		}
		if !c.again(err, &t, info.ReadOnly) {
			return Reply{err: c.public(err)}
		}
	}
}

// doUnknown runs a command that the table lacks: the server is asked what it
// is, once.
func (c *Client) doUnknown(ctx context.Context, args []any) Reply {
	name, err := commandName(args)
	if err == nil {
		err = checkArgs(args)
	}
	if err != nil {
		return Reply{err: c.public(err)}
	}
	info, err := c.ask(ctx, name)
	switch {
	case err != nil:
		return Reply{err: err}
	case info == nil || info.Class == command.Unknown:
		return c.doOnce(ctx, args)
	case info.Class == command.Multiplexed:
		return c.doShared(ctx, args, info.ReadOnly)
	}
	return c.doBlocking(ctx, info, args)
}

// commandName is the name of a command that the table lacks, in upper case.
func commandName(args []any) (string, error) {
	raw, err := resp.AppendCommand(nil, args[:1])
	if err != nil {
		return "", err
	}
	switch v := reflect.ValueOf(args[0]); {
	case v.Kind() != reflect.String && v.Kind() != reflect.Slice:
		return "", errBadName
	case v.Len() == 0:
		return "", errNoArguments
	}
	name, err := Reply{frame: raw[len("*1\r\n"):]}.Text()
	return strings.ToUpper(name), err
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

// doOnce runs a command of which nothing is known on a connection that is
// closed afterwards, unless the server knows it no better.
func (c *Client) doOnce(ctx context.Context, args []any) Reply {
	conn, err := c.pool.Acquire(ctx)
	if err != nil {
		return Reply{err: c.public(err)}
	}
	frame, err := conn.Lane().Do(ctx, args, lane.Options{})
	r := Reply{frame: frame, err: c.public(err)}
	var se *ServerError
	if errors.As(r.Err(), &se) && strings.HasPrefix(se.Message, "unknown command") {
		conn.Release()
	} else {
		conn.Destroy("it ran an unknown command")
	}
	return r
}

// ask learns a command's class from the server. Commands that the server
// knows are remembered.
func (c *Client) ask(ctx context.Context, name string) (*command.Info, error) {
	if info, ok := c.asked.Load(name); ok {
		return info.(*command.Info), nil
	}
	entries, err := c.doShared(ctx, []any{"COMMAND", "INFO", name}, true).Array()
	if err != nil {
		var se *ServerError
		if errors.As(err, &se) {
			return nil, nil // not allowed to ask: treat it as unknown
		}
		return nil, err
	}
	if len(entries) == 0 || entries[0].IsNil() {
		return nil, nil
	}
	fields, err := entries[0].Array()
	if err != nil || len(fields) < 7 {
		return nil, nil
	}
	flags, err := fields[2].Texts()
	if err != nil {
		return nil, nil
	}
	categories, err := fields[6].Texts()
	if err != nil {
		return nil, nil
	}
	info := command.FromFlags(name, flags, categories)
	c.asked.Store(name, info)
	return info, nil
}
