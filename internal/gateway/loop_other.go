//go:build !linux

package gateway

import "net"

// loop is not there: goroutines serve all clients.
type loop struct{}

func (l *loop) stop() {}

func (g *Gateway) greetPlain(net.Conn, net.Addr) bool { return false }
