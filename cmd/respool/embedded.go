package main

import (
	"net"
	"sync"
	"sync/atomic"

	"github.com/alicebob/miniredis/v2"
)

// embedded is a Redis server inside the process, behind a listener that
// counts its sockets.
type embedded struct {
	counter
	redis    *miniredis.Miniredis
	listener net.Listener
	done     sync.WaitGroup
}

// counter counts sockets as the server's side sees them.
type counter struct {
	open, peak, total atomic.Int64
}

func (c *counter) opened() {
	c.total.Add(1)
	n := c.open.Add(1)
	for {
		peak := c.peak.Load()
		if n <= peak || c.peak.CompareAndSwap(peak, n) {
			return
		}
	}
}

func startEmbedded() (*embedded, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	e := &embedded{redis: miniredis.NewMiniRedis(), listener: listener}
	// Its server starts with the first connection, an in-memory one.
	conn, err := e.redis.Dial()
	if err != nil {
		listener.Close()
		return nil, err
	}
	conn.Close()
	e.done.Go(e.accept)
	return e, nil
}

func (e *embedded) accept() {
	for {
		conn, err := e.listener.Accept()
		if err != nil {
			return
		}
		e.opened()
		e.redis.Server().ServeConn(&countedConn{Conn: conn, c: &e.counter})
	}
}

func (e *embedded) addr() string { return e.listener.Addr().String() }

func (e *embedded) close() {
	e.listener.Close()
	e.done.Wait()
	e.redis.Close()
}

// countedConn tells the counter of its end.
type countedConn struct {
	net.Conn
	c    *counter
	once sync.Once
}

func (c *countedConn) Close() error {
	c.once.Do(func() { c.c.open.Add(-1) })
	return c.Conn.Close()
}
