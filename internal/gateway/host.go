package gateway

import (
	"context"
	"log/slog"
	"math"
	"net"
	"strings"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/gateway/netio"
	"github.com/seed-2b0d76a6/respool/internal/gateway/session"
	"github.com/seed-2b0d76a6/respool/resp"
)

// host is the Gateway as package netio sees it.
type host Gateway

// Serve accepts clients until Shutdown, and then returns nil. If another party closes l, it returns that error and its
// clients stay. It owns l. Event loops serve plain TCP and unix sockets where the system has epoll; goroutines serve
// all other connections, such as TLS.
func (g *Gateway) Serve(l net.Listener) error { return g.net.Serve(l) }

// DialContext returns a connection to the gateway without a socket. The caller must close it.
func (g *Gateway) DialContext(ctx context.Context) (net.Conn, error) { return g.net.Dial(ctx) }

// Admit creates the client of a connection, or returns the error reply of a refusal.
func (h *host) Admit(l netio.Link, loop int, addr, localAddr string) (netio.Client, []byte) {
	g, from := (*Gateway)(h), hostOf(addr)
	set := g.settings.Load()
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.closing:
		return nil, nil
	case len(g.clients) >= set.MaxClients+set.AdminClients:
		g.count.refused.Add(1)
		return nil, resp.AppendError(nil, maxClients)
	case set.MaxClientsPerAddress > 0 && g.hosts[from] >= set.MaxClientsPerAddress:
		g.refuseClient(addr, "max_clients_per_address", set.MaxClientsPerAddress)
		return nil, resp.AppendError(nil, maxClients)
	}
	g.lastID++
	now := time.Now()
	c := &client{g: g, id: g.lastID, addr: addr, localAddr: localAddr, host: from, connectedAt: now,
		loop: uint8(loop), operatorOnly: len(g.clients) >= set.MaxClients}
	c.in.lastAt, c.in.wholeAt = now, now
	c.session = session.New(&set.session, g.lastID, addr)
	c.session.ConnectedTo(&c.localAddr)
	c.applySettingsLocked(set)
	if a := c.allowance; a != nil && a.user.LeaveBeyond() {
		g.refuseClient(addr, "max_clients of user "+c.login.user.name, a.user.Stats().Limits.MaxClients)
		return nil, resp.AppendError(nil, maxClients)
	}
	g.count.accepted.Add(1)
	c.pending.typical = int32(min(set.OutputBuffer/firstPipeline, math.MaxInt32))
	c.out.Init(l, c, &c.tally().buffered)
	g.clients[c] = struct{}{}
	g.hosts[from]++
	return c, nil
}

// refuseClient counts and logs the refusal of a client because of a limit.
func (g *Gateway) refuseClient(addr, reason string, limit int) {
	g.count.refused.Add(1)
	g.settings.Load().Log.Info("client refused", "addr", addr, "reason", reason, "limit", limit)
}

// Context ends when the gateway closes the last connections.
func (h *host) Context() context.Context { return h.ctx }

// Go runs f on a goroutine that Shutdown waits for.
func (h *host) Go(f func()) { h.workers.Go(f) }

// HandshakeTimeout bounds a TLS handshake.
func (h *host) HandshakeTimeout() time.Duration { return h.settings.Load().RequestTimeout }

// Log returns the logger of the current settings.
func (h *host) Log() *slog.Logger { return h.settings.Load().Log }

// unixHost is the host of clients on unix sockets.
const unixHost = "unix"

// hostOf returns the host that counts against MaxClientsPerAddress.
func hostOf(addr string) string {
	if host, _, err := net.SplitHostPort(addr); err == nil {
		return host
	}
	if strings.HasPrefix(addr, "memory") {
		return "memory"
	}
	return unixHost
}
