//go:build !linux

package netio

import "net"

// loop does not exist on this system: goroutines serve all clients.
type loop struct{}

func (l *loop) stop() {}

func (s *Server) serveSocket(net.Conn, net.Addr) bool { return false }
