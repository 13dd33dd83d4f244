package gateway

import (
	"errors"
	"fmt"
	"net"
	"time"
)

// acceptToldEvery is how often the log tells that nobody can be let in.
const acceptToldEvery = 10 * time.Second

// Serve accepts clients until Shutdown, and then returns nil; where somebody else closes l
// it returns that, and its clients stay. It owns l. Plain TCP and unix
// sockets are served by an event loop where the system has one; all others, such as TLS, by
// goroutines.
func (g *Gateway) Serve(l net.Listener) error {
	g.mu.Lock()
	if g.closing {
		g.mu.Unlock()
		_ = l.Close()
		return ErrClosed
	}
	g.listeners[l] = struct{}{}
	g.servers.Add(1)
	g.mu.Unlock()
	defer g.servers.Done()
	defer func() {
		_ = l.Close()
		g.mu.Lock()
		delete(g.listeners, l)
		g.mu.Unlock()
	}()
	var told time.Time
	for pause := time.Duration(0); ; {
		conn, err := l.Accept()
		if err == nil {
			pause = 0
			g.greet(conn, l.Addr())
			continue
		}
		switch {
		case g.isClosing():
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("gateway: accept: %w", err)
		}
		// Out of file descriptors, for one: it may pass.
		pause = min(max(2*pause, 5*time.Millisecond), time.Second)
		if now := time.Now(); now.Sub(told) >= acceptToldEvery {
			told = now
			g.settings.Load().Log.Warn("accept failed: it is tried again and again", "listener", l.Addr().String(), "error", err.Error())
		}
		select {
		case <-time.After(pause):
		case <-g.ctx.Done():
			return nil
		}
	}
}

func (g *Gateway) isClosing() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.closing
}

// greet makes a client of a connection that came in at an address.
func (g *Gateway) greet(conn net.Conn, at net.Addr) {
	if g.greetPlain(conn, at) {
		return
	}
	g.greetStream(conn, at)
}

// addresses names the ends of a connection as CLIENT LIST does. Of a unix socket that was moved
// the listener alone knows the path.
func addresses(conn net.Conn, at net.Addr) (addr, laddr string) {
	if conn.RemoteAddr().Network() == "unix" {
		return at.String() + ":0", at.String() + ":0"
	}
	return conn.RemoteAddr().String(), conn.LocalAddr().String()
}

// refuse tells why there is no place, without waiting for anything.
func refuse(conn net.Conn, reply []byte) {
	_ = conn.SetWriteDeadline(time.Now().Add(time.Millisecond))
	_, _ = conn.Write(reply)
	_ = conn.Close()
}
