package main

import (
	"context"
	"net"
	"time"
)

// settle is how long a process is idle before its memory is read.
const settle = time.Second

// runIdle measures the memory of a proxy for idle clients. It starts a new proxy, because memory of
// an earlier load would hide theirs.
func (r *runner) runIdle(ctx context.Context, name string, c gatewayCase) (m sample, err error) {
	s, err := r.lab.subject(name, c)
	if err != nil {
		return m, err
	}
	defer s.close()
	p := s.proxy
	if p == nil {
		p = r.lab.redis
	}
	if m.Before, err = resting(ctx, p); err != nil {
		return m, err
	}
	conns := make([]net.Conn, 0, c.Clients)
	defer func() {
		for _, conn := range conns {
			// Without a linger, the ports are free for the next round.
			_ = conn.(*net.TCPConn).SetLinger(0)
			_ = conn.Close()
		}
	}()
	var d net.Dialer
	for range c.Clients {
		conn, err := d.DialContext(ctx, "tcp", s.addr)
		if err != nil {
			return m, p.failed(err)
		}
		conns = append(conns, conn)
		if err := pingOn(conn); err != nil {
			return m, p.failed(err)
		}
	}
	if m.After, err = resting(ctx, p); err != nil {
		return m, err
	}
	return m, nil
}

func resting(ctx context.Context, p *process) (float64, error) {
	select {
	case <-time.After(settle):
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	return resident(p.pid())
}
