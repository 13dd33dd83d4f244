package wire

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"
)

// Config says how to reach a server and who to be there. It is not changed
// after it was given to Dial.
type Config struct {
	Network string // tcp or unix
	Addr    string
	TLS     *tls.Config // nil: plain

	Username, Password string
	// Credentials, when set, is asked at each dial instead of Username and Password. They are
	// valid until expires; zero: for ever.
	Credentials func(ctx context.Context) (username, password string, expires time.Time, err error)

	// Peer, when set, remembers how the server is spoken to. The Configs of one
	// server share it.
	Peer *Peer

	// Nobody introduces the connection with a bare HELLO alone: as no user, in RESP2, in
	// database 0. Introduced, when set, is called after the handshake, within its limits, and may Ask.
	Nobody     bool
	Introduced func(c *Conn) error

	DB         int
	Protocol   int // 3, 2, or 0: 3 where the server knows it
	ClientName string
	LibName    string
	LibVersion string

	ConnectTimeout time.Duration // dial, TLS and handshake together; 0: ctx alone
	KeepAlive      time.Duration // of TCP: idle time and interval; negative: off
	LingerLimit    time.Duration // for closing a connection whose handshake failed

	// DialFunc, when set, opens the connection instead of net.Dialer.
	DialFunc func(ctx context.Context, network, addr string) (net.Conn, error)
}

// connectGrace is how long a connect goes on after the end of its ctx: longer
// than a round trip, and short beside a limit for closing.
const connectGrace = 250 * time.Millisecond

// Dial connects and shakes hands, bounded by ctx and ConnectTimeout. When it
// returns an error the server has no connection of it left, as far as
// LingerLimit and the end of cut allow to know. So the end of ctx leaves a
// connect that is under way a moment more: the server may have taken it already.
func Dial(ctx, cut context.Context, cfg *Config) (*Conn, error) {
	connecting := context.WithoutCancel(ctx)
	if cfg.ConnectTimeout > 0 {
		timeout := &TimeoutError{Text: fmt.Sprintf("no connection within the connect timeout of %v", cfg.ConnectTimeout)}
		end := time.Now().Add(cfg.ConnectTimeout)
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadlineCause(ctx, end, timeout)
		defer cancel()
		connecting, cancel = context.WithDeadlineCause(connecting, end, timeout)
		defer cancel()
	}
	connecting, cancel := context.WithCancel(connecting)
	defer cancel()
	defer context.AfterFunc(cut, cancel)()
	defer context.AfterFunc(ctx, func() {
		grace := time.NewTimer(connectGrace)
		defer grace.Stop()
		select {
		case <-grace.C:
			cancel()
		case <-connecting.Done():
		}
	})()
	if err := ctx.Err(); err != nil {
		return nil, &Error{Op: "dial", Addr: cfg.Addr, Err: context.Cause(ctx)}
	}
	return cfg.Peer.introduce(cfg, func(bare bool) (*Conn, error) { return open(ctx, connecting, cut, cfg, bare) })
}

// open makes one connection. The end of ctx leaves a connect that is under way
// until that of connecting.
func open(ctx, connecting, cut context.Context, cfg *Config, bare bool) (*Conn, error) {
	nc, err := dialSocket(connecting, cfg)
	if err != nil {
		ended := connecting
		if ctx.Err() != nil {
			ended = ctx // it is why that ended
		}
		return nil, &Error{Op: "dial", Addr: cfg.Addr, Err: cause(ended, err)}
	}
	c := newConn(nc, cfg.Addr)
	if ctx.Err() != nil {
		c.lingerUntil(cut, cfg.LingerLimit)
		return nil, &Error{Op: "dial", Addr: cfg.Addr, Err: context.Cause(ctx)}
	}
	interrupted := make(chan struct{})
	stopWatch := context.AfterFunc(ctx, func() {
		_ = nc.SetDeadline(past)
		close(interrupted)
	})
	// An interruption that has begun must not hit what follows.
	stop := func() bool {
		stopped := stopWatch()
		if !stopped {
			<-interrupted
		}
		return stopped
	}
	if cfg.TLS != nil {
		tc := tls.Client(nc, cfg.TLS)
		// Given ctx itself it would close the socket, with no time to linger.
		if err := tc.HandshakeContext(context.WithoutCancel(ctx)); err != nil {
			stop()
			c.lingerUntil(cut, cfg.LingerLimit)
			return nil, &Error{Op: "TLS handshake with", Addr: cfg.Addr, Err: cause(ctx, explainTLS(err))}
		}
		c.nc, c.try = tc, nil
	}
	err = c.handshake(ctx, cfg, bare)
	if err == nil && cfg.Introduced != nil {
		err = cfg.Introduced(c)
	}
	if !stop() && err == nil {
		// The end of ctx came as the last reply did: the deadline is spoilt.
		err = context.Cause(ctx)
	}
	if err != nil {
		c.lingerUntil(cut, cfg.LingerLimit)
		return nil, &Error{Op: OpHandshake, Addr: cfg.Addr, Err: cause(ctx, err)}
	}
	return c, nil
}

func (c *Conn) lingerUntil(cut context.Context, limit time.Duration) {
	defer context.AfterFunc(cut, c.Abort)()
	c.Linger(limit)
}

func dialSocket(ctx context.Context, cfg *Config) (net.Conn, error) {
	if cfg.DialFunc != nil {
		return cfg.DialFunc(ctx, cfg.Network, cfg.Addr)
	}
	d := net.Dialer{KeepAlive: -1}
	if cfg.KeepAlive > 0 {
		d.KeepAliveConfig = net.KeepAliveConfig{Enable: true, Idle: cfg.KeepAlive, Interval: cfg.KeepAlive, Count: 3}
	}
	return d.DialContext(ctx, cfg.Network, cfg.Addr) // TCP_NODELAY is Go's default
}

// cause prefers the reason why ctx ended to the timeout that it brought about.
func cause(ctx context.Context, err error) error {
	var ne net.Error
	timeout := errors.Is(err, context.DeadlineExceeded) || errors.As(err, &ne) && ne.Timeout()
	if !timeout && !errors.Is(err, context.Canceled) {
		return err
	}
	if end, ok := ctx.Deadline(); ok && timeout && !time.Now().Before(end) {
		<-ctx.Done() // the dialer's own timer may be a moment early
	}
	if ctx.Err() == nil {
		return err
	}
	return context.Cause(ctx)
}

func explainTLS(err error) error {
	var rec tls.RecordHeaderError
	if errors.As(err, &rec) {
		return fmt.Errorf("the server does not speak TLS here, use redis:// without TLS: %w", err)
	}
	return err
}
