package respool

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/engine"
	"github.com/seed-2b0d76a6/respool/internal/identity"
	"github.com/seed-2b0d76a6/respool/internal/sentinels"
)

// Version is the version of respool. The handshake sends it to servers as lib-ver.
const Version = "0.1.0"

// Client sends the commands of any number of goroutines to one server, or to the nodes of one
// service. All its methods are safe for concurrent use. Create it with New or Open, and close it.
type Client struct {
	opt      Options // at the creation
	engine   *engine.Engine
	sentinel *Sentinel // created the client; nil if none did

	node bool // Node made it

	mu  sync.Mutex // held by Reconfigure
	now *Options   // since the last Reconfigure; nil: opt
}

// New returns a client. It validates all options and reads the TLS files. It opens no connection
// and does not block on the network: the first use, or Warm, opens connections. The caller owns the
// client and must close it.
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
	return newClient(opt, s.links, true)
}

// newClient returns a client for validated options. set, if not nil, finds its nodes. owned
// states that only this client uses set, and closes it.
func newClient(opt Options, set *sentinels.Set, owned bool) (*Client, error) {
	cfg, err := opt.engineConfig()
	if err != nil {
		return nil, err
	}
	cfg.Sentinels, cfg.OwnSentinels = set, owned
	c := &Client{opt: opt}
	cfg.OnClosed = func() {
		if c.sentinel != nil {
			c.sentinel.removeClient(c)
		}
	}
	c.engine = engine.New(cfg)
	return c, nil
}

// Open calls ParseURL, New and Warm. It blocks until Warm has opened the connections, or until the
// first failure. If it returns an error, it has closed the client.
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

// String returns the address and the state of the connections, without a password.
func (c *Client) String() string { return "respool.Client{" + c.Stats().String() + "}" }

// GoString returns String, so that %#v shows no password.
func (c *Client) GoString() string { return c.String() }

// Engine returns the engine of the client, for the gateway and the other packages of this module.
// Its type is internal. Close of the client closes it.
func (c *Client) Engine() *engine.Engine { return c.engine }

// Warm opens the lanes and the MinIdle connections before their first use, a few at a time, with
// short random pauses. In a cluster it opens one lane to each primary; the others open when callers
// need them. It blocks until they are open, ctx ends, or a dial fails. It returns the
// error of that dial. If sentinels report the node, it also waits for their report, for at most
// Options.ConnectTimeout.
func (c *Client) Warm(ctx context.Context) error { return wrapError(c.engine.Warm(ctx)) }

// Close stops admission and wakes all waiters with ErrClosed. It lets commands in flight and
// dedicated connections finish until ctx ends, and then cuts them. When it returns, the server
// counts none of the client's connections, and no goroutine of the client is left. It returns the
// error of ctx if it cut anything. Another call waits for the same end.
//
// Inside Options.OnEvent it does not wait, because its own goroutine must end first. It returns nil
// at once, and the close continues in the background until the deadline of ctx.
func (c *Client) Close(ctx context.Context) error {
	return c.engine.Close(ctx)
}

// Do sends one command and waits for its reply. The arguments are strings, byte slices, numbers and
// booleans (1 and 0); Do does not keep them. Options.WaitTimeout limits the wait for a connection,
// Options.SocketTimeout limits the wait for the reply, and ctx limits both. Do blocks no other
// caller.
//
// If the client does not know the command, it queries the server about it first.
//
// Blocking commands such as BLPOP and XREADGROUP wait in the client, for their own timeout, and
// send non-blocking commands to the server. If ctx ends while one of these is in flight, Do returns
// the data that it finds; it waits up to 100 ms for it. With BlockingDedicated, and if the server
// does not report changes of keys, a blocking command holds a dedicated connection, and its own
// timeout is added to the limit.
//
// Do refuses commands that change the state of a connection with ErrStateful.
//
// If a connection breaks before the command was sent, the client sends it on another one. It
// resends a command only if the command is read-only, Options.Retries times at most.
func (c *Client) Do(ctx context.Context, args ...any) Reply {
	frame, err := c.engine.Do(ctx, args)
	if err != nil {
		return Reply{err: wrapError(err)}
	}
	if frame[0] == '-' && !c.engine.Clustered() {
		return unclustered(frame)
	}
	return Reply{frame: frame}
}

// Node returns a client for the node at an address, for commands about the node, such as INFO. It shares the connections of
// c to this node and their limit. If c sends no commands to the node, such as a replica, the node's client opens
// a connection for it, which counts against MaxConnections, and against ClusterOptions.MaxConnectionsTotal. It does not
// block. The caller must close the node's client, before c. Resize and Reconfigure of it do nothing.
func (c *Client) Node(addr string) *Client {
	opt := c.opt
	opt.Addr, opt.Sentinel, opt.Service, opt.Cluster, opt.Role, opt.Nearest, opt.MaxReplicaLag = addr, nil, "", nil, RolePrimary, false, 0
	return &Client{opt: opt, engine: c.engine.At(addr), node: true}
}

// Resize changes MaxConnections while the client runs. If n is lower than before, it closes idle
// connections at once, drains lanes, and closes dedicated connections when their holders release
// them. It does not wait for that. It returns an error if n is less than 1.
func (c *Client) Resize(n int) error {
	if n < 1 {
		return fmt.Errorf("respool: resize to %d connections: want 1 or more", n)
	}
	return c.engine.Resize(n)
}

// Change is an option that Reconfigure found to differ.
type Change struct {
	Option   string // the name of the field of Options; Options.Cluster and Options.Sentinel are prefixes
	From, To string // the values, without secrets
	Kept     string // why it cannot change while the client runs; empty: it has changed
}

// Reconfigure compares options with those of the client, and changes what can change while the client runs: Addr and
// Network of a single server, Username, Password, TLS, TLSFiles, MaxConnections and Lanes. It returns all options that
// differ. Those that cannot change keep their values, and Kept says why. It ignores functions, such as OnEvent, and compares
// TLS by the server's name, the verification and the minimum version.
//
// Before it changes the address, the login or the encryption, it opens a connection with the new ones, within
// MaxConnections, and closes it. If that fails, or if an option is invalid, nothing changes and it returns the error. ctx and
// ConnectTimeout limit this attempt. Then the connections are replaced in the background, and callers only wait for the new ones: a
// shared connection closes when its pending replies have arrived, a dedicated one when its holder releases it, and a
// subscription keeps its connection. If Addr or Network changes, dedicated connections and subscriptions behave as at a
// failover, and replies that are pending at the old server may arrive for 30 s. There are never more sockets than
// MaxConnections, old and new ones together.
func (c *Client) Reconfigure(ctx context.Context, opt Options) ([]Change, error) {
	opt, err := opt.withDefaults()
	if err != nil {
		return nil, err
	}
	cfg, err := opt.engineConfig()
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	old := &c.opt
	if c.now != nil {
		old = c.now
	}
	if kindOf(old) != kindOf(&opt) || (old.Credentials == nil) != (opt.Credentials == nil) {
		return nil, fmt.Errorf("respool: reconfigure: %s with %s cannot become %s with %s while the client runs: restart to change this",
			kindOf(old), loginKind(old), kindOf(&opt), loginKind(&opt))
	}
	list := optionChanges(old, &opt)
	if len(list) == 0 || c.node {
		return nil, nil
	}
	next, change := *old, engine.Change{Drain: reconfigureDrain}
	for _, one := range list {
		switch one.Option {
		case "Addr", "Network", "Username", "Password", "TLS", "TLSFiles":
			change.Reach = &engine.Reach{Network: opt.Network, Addr: cfg.Addr, TLS: cfg.TLS, Login: identity.Login{Username: opt.Username, Password: opt.Password}}
		case "MaxConnections":
			change.Max, next.MaxConnections = opt.MaxConnections, opt.MaxConnections
		case "Lanes":
			change.Lanes, next.Lanes = opt.Lanes, opt.Lanes
		}
	}
	if d := limit(old.ConnectTimeout); d > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d)
		defer cancel()
	}
	if err := c.engine.Reconfigure(ctx, change); err != nil {
		return nil, wrapError(err)
	}
	if change.Reach != nil {
		next.Network, next.Addr, next.Username, next.Password, next.TLS, next.TLSFiles = opt.Network, opt.Addr, opt.Username, opt.Password, opt.TLS, opt.TLSFiles
	}
	c.now = &next
	return list, nil
}

// reconfigureDrain limits the wait for replies of a server that Reconfigure replaces by another one.
const reconfigureDrain = 30 * time.Second
