package main

import (
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"
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
	e.redis.Server().SetPreHook(answerLikeRedis)
	e.done.Go(e.accept)
	return e, nil
}

// embeddedVersion is the one that the embedded server comes closest to.
const embeddedVersion = "7.2.0"

// answerLikeRedis answers what the embedded server would answer with something else: any
// COMMAND with its table, at which redis-cli ends when it asks for COMMAND DOCS, and INFO
// server, which tells clients the version, with an error.
func answerLikeRedis(c *server.Peer, cmd string, args ...string) bool {
	switch {
	case cmd == "COMMAND" && len(args) > 0:
		c.WriteError(fmt.Sprintf("ERR unknown subcommand '%.128s'. Try COMMAND HELP.", args[0]))
	case cmd == "INFO" && len(args) == 1 && strings.EqualFold(args[0], "server"):
		c.WriteBulk("# Server\r\nredis_version:" + embeddedVersion + "\r\nredis_mode:standalone\r\n")
	default:
		return false
	}
	return true
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
