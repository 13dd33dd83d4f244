package wire

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"
)

// Config configures a dial and its handshake. It must not change after Dial has received it.
type Config struct {
	Network string // tcp or unix
	Addr    string
	TLS     *tls.Config // nil: no TLS

	Username, Password string
	// Credentials, if set, provides the login of each dial in place of Username and Password. They are valid until
	// expires; zero: without limit.
	Credentials func(ctx context.Context) (username, password string, expires time.Time, err error)

	// Peer, if set, stores facts about the server. All Configs of one server share it.
	Peer *Peer

	// Nobody limits the handshake to a bare HELLO: no login, RESP2, database 0. Introduced, if set, is called after
	// the handshake, within its limits, and may call Ask.
	Nobody     bool
	Introduced func(c *Conn) error

	DB         int
	Protocol   int  // 3, 2, or 0: 3 if the server supports it
	ReadOnly   bool // send READONLY, so that a replica of a cluster executes reads
	ClientName string
	LibName    string
	LibVersion string

	ConnectTimeout time.Duration // limit of dial, TLS and handshake together; 0: only ctx
	KeepAlive      time.Duration // TCP keepalive: idle time and interval; negative: off
	LingerLimit    time.Duration // limit of the close after a failed handshake

	// DialFunc, if set, opens the connection in place of net.Dialer.
	DialFunc func(ctx context.Context, network, addr string) (net.Conn, error)
}

// connectGrace is how long a connect continues after the end of its ctx: longer than a round trip, and short relative
// to LingerLimit.
const connectGrace = 250 * time.Millisecond

// Dial connects and completes the handshake. ctx and ConnectTimeout limit it. After an error, Dial has waited for the
// server to close its side, unless LingerLimit passed or cut ended first. The end of ctx does not abort a connect in
// flight at once, because the server may have accepted it already.
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

// open opens one connection. After the end of ctx, connecting still limits a connect in flight.
func open(ctx, connecting, cut context.Context, cfg *Config, bare bool) (*Conn, error) {
	nc, err := dialSocket(connecting, cfg)
	if err != nil {
		ended := connecting
		if ctx.Err() != nil {
			ended = ctx // ctx caused the end of connecting
		}
		return nil, &Error{Op: "dial", Addr: cfg.Addr, Err: explainDial(cfg.Addr, cause(ended, err))}
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
	// Wait for an interruption that has begun: it must not affect the code that follows.
	stop := func() bool {
		stopped := stopWatch()
		if !stopped {
			<-interrupted
		}
		return stopped
	}
	if cfg.TLS != nil {
		tc := tls.Client(nc, cfg.TLS)
		// With ctx itself it would close the socket without lingering.
		if err := tc.HandshakeContext(context.WithoutCancel(ctx)); err != nil {
			stop()
			c.lingerUntil(cut, cfg.LingerLimit)
			return nil, &Error{Op: "TLS handshake with", Addr: cfg.Addr, Err: explainSilentTLS(cause(ctx, explainTLS(err)))}
		}
		c.nc, c.try = tc, nil
	}
	err = c.handshake(ctx, cfg, bare)
	if err == nil && cfg.Introduced != nil {
		err = cfg.Introduced(c)
	}
	if !stop() && err == nil {
		// ctx ended together with the last reply: the deadline is in the past.
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
	return d.DialContext(ctx, cfg.Network, cfg.Addr) // Go sets TCP_NODELAY by default
}

// cause returns the reason why ctx ended in place of the timeout that it caused.
func cause(ctx context.Context, err error) error {
	var ne net.Error
	timeout := errors.Is(err, context.DeadlineExceeded) || errors.As(err, &ne) && ne.Timeout()
	if !timeout && !errors.Is(err, context.Canceled) {
		return err
	}
	if end, ok := ctx.Deadline(); ok && timeout && !time.Now().Before(end) {
		<-ctx.Done() // the dialer's own timer may fire slightly earlier
	}
	if ctx.Err() == nil {
		return err
	}
	return context.Cause(ctx)
}
