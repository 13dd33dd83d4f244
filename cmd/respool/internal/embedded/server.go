// Package embedded runs a Redis server inside the process, for trials without a
// Redis. It keeps nothing on disk and is not for production. A Server owns the
// goroutine that accepts connections; Close waits for it.
package embedded

import (
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"
)

// Server is a Redis server inside the process. Its listener counts the sockets.
type Server struct {
	Counter
	redis    *miniredis.Miniredis
	listener net.Listener
	done     sync.WaitGroup
}

// Counter counts sockets as the server sees them.
type Counter struct {
	Open, Peak, Total atomic.Int64
}

func (c *Counter) opened() {
	c.Total.Add(1)
	n := c.Open.Add(1)
	for {
		peak := c.Peak.Load()
		if n <= peak || c.Peak.CompareAndSwap(peak, n) {
			return
		}
	}
}

// Start starts a server at a free port of the loopback interface.
func Start() (*Server, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	e := &Server{redis: miniredis.NewMiniRedis(), listener: listener}
	// The first connection starts its server; this one is in memory.
	conn, err := e.redis.Dial()
	if err != nil {
		listener.Close()
		return nil, err
	}
	conn.Close()
	e.redis.Server().SetPreHook(e.answerAsRedis)
	e.done.Go(e.accept)
	return e, nil
}

// Version is the Redis version that the embedded server reports in HELLO. INFO must agree with it: clients of a gateway see
// either.
const Version = "8.4.0"

// info is the reply to INFO. The embedded server itself omits its version.
func (e *Server) info(all bool) string {
	text := "# Server\r\nredis_version:" + Version + "\r\nredis_mode:standalone\r\n" + Field + ":1\r\n"
	if !all {
		return text
	}
	return text + fmt.Sprintf("\r\n# Clients\r\nconnected_clients:%d\r\n\r\n# Stats\r\ntotal_connections_received:%d\r\ntotal_commands_processed:%d\r\n"+
		"rejected_connections:0\r\n\r\n# Replication\r\nrole:master\r\n", e.Open.Load(), e.Total.Load(), e.redis.CommandCount())
}

// Field marks the embedded server in INFO. Package monitor recognizes it.
const Field = "respool_embedded"

// answerAsRedis replaces replies of the embedded server. It answers COMMAND with arguments with
// the whole table, at which redis-cli exits, because redis-cli starts with COMMAND DOCS. It answers
// INFO server, which carries the version, with an error, and INFO without it.
func (e *Server) answerAsRedis(c *server.Peer, cmd string, args ...string) bool {
	switch {
	case cmd == "COMMAND" && len(args) > 0:
		c.WriteError(fmt.Sprintf("ERR unknown subcommand '%.128s'. Try COMMAND HELP.", args[0]))
	case cmd == "INFO" && len(args) == 1 && strings.EqualFold(args[0], "server"):
		c.WriteBulk(e.info(false))
	case cmd == "INFO" && len(args) == 0:
		c.WriteBulk(e.info(true))
	default:
		return false
	}
	return true
}

func (e *Server) accept() {
	for {
		conn, err := e.listener.Accept()
		if err != nil {
			return
		}
		e.opened()
		e.redis.Server().ServeConn(&countedConn{Conn: conn, c: &e.Counter})
	}
}

// Addr is the address that clients connect to.
func (e *Server) Addr() string { return e.listener.Addr().String() }

// Close stops the server and waits for its connections.
func (e *Server) Close() {
	e.listener.Close()
	e.done.Wait()
	e.redis.Close()
}

// countedConn decrements the counter when it is closed.
type countedConn struct {
	net.Conn
	c    *Counter
	once sync.Once
}

func (c *countedConn) Close() error {
	c.once.Do(func() { c.c.Open.Add(-1) })
	return c.Conn.Close()
}
