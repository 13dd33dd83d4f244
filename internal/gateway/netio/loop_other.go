//go:build !linux

package netio

import (
	"errors"
	"net"
)

// loop does not exist on this system: goroutines serve all clients.
type loop struct{}

func (l *loop) stop() {}

func (s *Server) serveSocket(net.Conn, net.Addr) bool { return false }

// Adopt is not possible on this system.
func (s *Server) Adopt(int, func(l Link, loop int) (Client, error)) (start func(), err error) {
	return nil, errors.New("gateway: a connection can move between processes on Linux only")
}
