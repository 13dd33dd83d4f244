package respool

import (
	"context"
	"fmt"

	"github.com/seed-2b0d76a6/respool/internal/engine"
)

// Version is told to servers as lib-ver.
const Version = "0.1.0"

// Client carries the commands of any number of goroutines to one server. All
// its methods are safe for concurrent use. Make it with New or Open, and
// close it.
type Client struct {
	opt      Options
	engine   *engine.Engine
	sentinel *Sentinel // that made the client; nil: none
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
	return newClient(opt, s.links, true)
}

// newClient makes a client of options that are complete. Where it finds its nodes through sentinels,
// owned says that nobody else does.
func newClient(opt Options, sentinels *engine.Sentinels, owned bool) (*Client, error) {
	cfg, err := opt.engineConfig()
	if err != nil {
		return nil, err
	}
	cfg.Sentinels, cfg.OwnSentinels = sentinels, owned
	return &Client{opt: opt, engine: engine.New(cfg)}, nil
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

// Engine returns the engine of the client, for the gateway and the other packages of this module: its type is
// internal. It is closed with the client.
func (c *Client) Engine() *engine.Engine { return c.engine }

// Warm opens the lanes and the MinIdle connections ahead of their use, a few
// at a time and spread a little. It blocks until they stand, ctx ends, or a
// dial fails, whose error it returns. Where sentinels tell the node it waits
// for that as well, for at most Options.ConnectTimeout.
func (c *Client) Warm(ctx context.Context) error { return wrapError(c.engine.Warm(ctx)) }

// Close stops admission, wakes everyone who waits with ErrClosed, lets what is
// in flight or lent come to its end until ctx ends, and then cuts it. When it
// returns, the server counts none of the client's connections and none of its
// goroutines is left. It returns the error of ctx if something had to be cut.
// Closing again waits for the same end.
//
// Within Options.OnEvent it does not wait, since the goroutine there is one of those that have to end: it
// returns nil at once, and closing goes on in the background, bounded by ctx's deadline.
func (c *Client) Close(ctx context.Context) error {
	if c.sentinel != nil {
		c.sentinel.forget(c)
	}
	return c.engine.Close(ctx)
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
	frame, err := c.engine.Do(ctx, args)
	if err != nil {
		return Reply{err: wrapError(err)}
	}
	return Reply{frame: frame}
}

// Resize changes MaxConnections while the client runs. Downwards it closes
// idle connections at once, drains lanes, and closes lent connections when
// they come back: it does not wait for that. It returns an error if n is
// less than 1.
func (c *Client) Resize(n int) error {
	if n < 1 {
		return fmt.Errorf("respool: resize to %d connections: want 1 or more", n)
	}
	return c.engine.Resize(n)
}
