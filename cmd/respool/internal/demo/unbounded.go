package demo

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/resp"
)

// unboundedPool is a pool without a limit, as in asynchronous clients: a command takes an idle
// connection, or dials if there is none. There are as many connections as commands in flight.
type unboundedPool struct {
	opt   respool.Options
	dials atomic.Int64
	mu    sync.Mutex
	idle  []*plainConn
}

func (u *unboundedPool) do(ctx context.Context, args ...any) (resp.Value, error) {
	c, err := u.get(ctx)
	if err != nil {
		return resp.Value{}, err
	}
	v, err := c.do(u.opt.SocketTimeout, args)
	if err != nil {
		c.Close()
		return v, err
	}
	v.Str = bytes.Clone(v.Str) // it is a part of the connection's buffer
	u.mu.Lock()
	u.idle = append(u.idle, c)
	u.mu.Unlock()
	return v, nil
}

func (u *unboundedPool) get(ctx context.Context) (*plainConn, error) {
	u.mu.Lock()
	if n := len(u.idle); n > 0 {
		c := u.idle[n-1]
		u.idle = u.idle[:n-1]
		u.mu.Unlock()
		return c, nil
	}
	u.mu.Unlock()
	return u.dial(ctx)
}

func (u *unboundedPool) dial(ctx context.Context) (*plainConn, error) {
	ctx, cancel := context.WithTimeout(ctx, u.opt.ConnectTimeout)
	defer cancel()
	var d net.Dialer
	nc, err := d.DialContext(ctx, u.opt.Network, u.opt.Addr)
	if err != nil {
		return nil, err
	}
	if cfg := u.opt.TLS; cfg != nil {
		if cfg.ServerName == "" {
			cfg = cfg.Clone()
			cfg.ServerName, _, _ = net.SplitHostPort(u.opt.Addr)
		}
		nc = tls.Client(nc, cfg)
	}
	u.dials.Add(1)
	c := &plainConn{Conn: nc, in: make([]byte, 4096)}
	for _, args := range u.handshake() {
		v, err := c.do(u.opt.ConnectTimeout, args)
		if err == nil && v.Kind == resp.SimpleError {
			err = resp.NewServerError(string(v.Str))
		}
		if err != nil {
			nc.Close()
			return nil, err
		}
	}
	return c, nil
}

func (u *unboundedPool) handshake() [][]any {
	var cmds [][]any
	switch {
	case u.opt.Username != "":
		cmds = append(cmds, []any{"AUTH", u.opt.Username, u.opt.Password})
	case u.opt.Password != "":
		cmds = append(cmds, []any{"AUTH", u.opt.Password})
	}
	if u.opt.DB != 0 {
		cmds = append(cmds, []any{"SELECT", u.opt.DB})
	}
	return cmds
}

func (u *unboundedPool) close() {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, c := range u.idle {
		c.Close()
	}
	u.idle = nil
}

// plainConn sends a command and reads its reply, one at a time.
type plainConn struct {
	net.Conn
	out []byte
	in  []byte
}

var errExtraReply = errors.New("the server sent more than one reply to a command")

func (c *plainConn) do(limit time.Duration, args []any) (resp.Value, error) {
	out, err := resp.AppendCommand(c.out[:0], args)
	if err != nil {
		return resp.Value{}, err
	}
	c.out = out
	if err := c.SetDeadline(time.Now().Add(limit)); err != nil {
		return resp.Value{}, err
	}
	if _, err := c.Write(out); err != nil {
		return resp.Value{}, err
	}
	var scanner resp.Scanner
	for have := 0; ; {
		if have == len(c.in) {
			c.in = append(c.in, make([]byte, len(c.in))...)
		}
		n, err := c.Read(c.in[have:])
		if n == 0 && err != nil {
			return resp.Value{}, err
		}
		used, done, err := scanner.Scan(c.in[have : have+n])
		switch {
		case err != nil:
			return resp.Value{}, err
		case used < n:
			return resp.Value{}, errExtraReply
		}
		have += n
		if done {
			v, _, err := resp.Decode(c.in[:have])
			return v, err
		}
	}
}
