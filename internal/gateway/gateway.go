// Package gateway lets clients in any language share a few server connections: it speaks the Redis protocol to them and
// keeps the state of each one apart. It is not for sockets, which package netio serves, nor for the protocol rules of a
// client, which package session decides.
//
// Multiplexed commands need no goroutine: an event loop reads the sockets that have input, posts the requests to lanes
// and writes each lane once, and the readers of the lanes write the replies. Blocking commands wait in the engine, and
// the event loop writes their replies. A goroutine of the client executes other commands that cannot be posted at once.
// Clients over TLS, in memory, and on systems without epoll have goroutines of their own.
//
// A Gateway owns its listeners, loop and clients, and all their goroutines: they have ended when Shutdown returns. It
// does not own the engine.
package gateway

import (
	"bytes"
	"cmp"
	"context"
	"log/slog"
	"math"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/engine"
	"github.com/seed-2b0d76a6/respool/internal/gateway/netio"
	"github.com/seed-2b0d76a6/respool/internal/gateway/observe"
	"github.com/seed-2b0d76a6/respool/internal/gateway/quota"
	"github.com/seed-2b0d76a6/respool/internal/gateway/session"
	"github.com/seed-2b0d76a6/respool/internal/gateway/turns"
	"github.com/seed-2b0d76a6/respool/internal/pool"
	"github.com/seed-2b0d76a6/respool/resp"
)

// ErrClosed is the error of a Gateway after Shutdown.
var ErrClosed = netio.ErrClosed

// Gateway serves clients. All methods are safe for concurrent use.
type Gateway struct {
	// Each command of each loop reads these fields, and few others write them.
	engine   *engine.Engine
	settings atomic.Pointer[settings]
	tallies  []tally // by the number of the loop; 0: of clients without a loop
	pauses   pauseControl
	quotas   quota.Users
	turns    turns.Turns
	slow     observe.SlowLog
	hot      observe.HotList
	big      observe.BigList

	_       [cacheLine]byte
	ctx     context.Context // parent of all contexts; ends when Shutdown closes the last clients
	cancel  context.CancelFunc
	workers sync.WaitGroup // goroutines of clients
	servers sync.WaitGroup // the reaper and learn
	net     *netio.Server
	count   counters

	greeted   atomic.Pointer[serverGreeting]
	setting   sync.Mutex // held while settings are built and stored
	databases int        // of the server; 0 if unknown
	asked     uint64     // calls of learn; only the last one may set databases

	mu       sync.Mutex
	clients  map[*client]struct{}
	hosts    map[string]int
	lastID   int64
	past     past
	closing  bool
	moving   Mover         // nil: no client moves to another process
	arriving bool          // clients of another process move here
	empty    chan struct{} // closed when closing is true and the last client has left
}

// cacheLine separates fields that different processors write. Some processors fetch two lines of 64 bytes at a time.
const cacheLine = 128

// counters only rise.
type counters struct {
	accepted, refused, malformed, denied, slow, gaps atomic.Uint64
	limitWaits, limitRefused                         atomic.Uint64
	moved, adopted                                   atomic.Uint64
}

// past holds the counts of clients that have left.
type past struct{ closed, commands, bytesIn, bytesOut uint64 }

const (
	// helloLimit bounds one attempt to ask the server for its version.
	helloLimit = 5 * time.Second
	// helloWait is how long New waits for the version.
	helloWait = time.Second
	// helloEvery is the interval of the attempts.
	helloEvery = time.Second
)

// New returns a gateway for an engine, which it does not own. It queries the server for its version and its number of
// databases. Without a reply within a second it starts nevertheless, and retries in the background.
func New(e *engine.Engine, cfg Config) (*Gateway, error) {
	g := &Gateway{
		engine: e, clients: map[*client]struct{}{}, hosts: map[string]int{},
		empty: make(chan struct{}),
	}
	if err := cfg.Check(e.Clustered()); err != nil {
		return nil, err
	}
	loops := cmp.Or(cfg.Loops, DefaultLoops())
	g.tallies = make([]tally, 1+loops)
	g.ctx, g.cancel = context.WithCancel(context.Background())
	g.pauses.init(cfg.SubscribeWait)
	g.net = netio.NewServer((*host)(g), loops)
	known := make(chan struct{})
	g.servers.Go(func() { g.learn(known, 0) })
	select {
	case <-known:
	case <-time.After(helloWait):
	}
	if err := g.Reload(cfg); err != nil {
		g.cancel()
		return nil, err
	}
	g.servers.Go(g.reap)
	context.AfterFunc(g.ctx, g.engine.Logins().OnDisowned(g.closeRefusedUser))
	return g, nil
}

// learn queries the server until it has replied, and then closes known.
func (g *Gateway) learn(known chan<- struct{}, asked uint64) {
	defer close(known)
	for {
		greeting, databases, ok := g.ask()
		if ok {
			g.setting.Lock()
			defer g.setting.Unlock()
			g.greeted.CompareAndSwap(nil, &serverGreeting{greeting: greeting})
			if g.asked == asked {
				g.setDatabasesLocked(databases)
			}
			return
		}
		select {
		case <-time.After(helloEvery):
		case <-g.ctx.Done():
			return
		}
	}
}

// setDatabasesLocked sets the number of databases.
func (g *Gateway) setDatabasesLocked(n int) {
	g.databases = n
	if old := g.settings.Load(); old != nil {
		if set, err := g.newSettingsLocked(old.Config); err == nil {
			g.settings.Store(set)
		}
	}
}

// ServerChanged makes the gateway query the server for its number of databases again, in the background. Until the reply, SELECT
// goes to the server. It must not be called after Shutdown.
func (g *Gateway) ServerChanged() {
	g.setting.Lock()
	defer g.setting.Unlock()
	g.asked++
	g.setDatabasesLocked(0)
	asked := g.asked
	g.servers.Go(func() { g.learn(make(chan struct{}), asked) })
}

// ask queries the server once. An error reply counts as a reply, except LOADING.
func (g *Gateway) ask() (greeting *session.Greeting, databases int, ok bool) {
	ctx, cancel := context.WithTimeout(pool.Observe(g.ctx), helloLimit)
	defer cancel()
	info, err := g.engine.Do(ctx, []any{"INFO", "server"})
	if refusal := resp.ErrorIn(info); err != nil || refusal != nil && refusal.Code == "LOADING" {
		return nil, 0, false
	}
	about, _ := resp.StringOf(info)
	setting := "databases"
	if g.engine.Clustered() {
		setting, databases = "cluster-databases", 1 // a server without the setting has one
	}
	if pair, err := g.engine.Do(ctx, []any{"CONFIG", "GET", setting}); err == nil {
		if elements, err := resp.Elements(pair); err == nil && len(elements) == 2 {
			text, _ := resp.StringOf(elements[1])
			databases, _ = strconv.Atoi(string(text))
		}
	}
	return greetingOf(string(about)), databases, true
}

// Reload applies another configuration. Clients stay, even beyond a lower limit, except those whose user is removed or
// disabled. A new password applies to new clients only. The number of loops stays. On an error nothing changes.
func (g *Gateway) Reload(cfg Config) error {
	g.setting.Lock()
	defer g.setting.Unlock()
	set, err := g.newSettingsLocked(cfg)
	if err != nil {
		return err
	}
	g.settings.Store(set)
	for _, c := range g.list() {
		c.mu.Lock()
		stays := c.applySettingsLocked(set)
		c.mu.Unlock()
		if !stays {
			c.disconnect()
		}
	}
	return nil
}

// Shutdown stops accepting, lets the clients' commands complete, and closes their connections. After a second it
// accepts no more requests. When ctx ends, it closes the remaining clients and returns the error of ctx.
func (g *Gateway) Shutdown(ctx context.Context) error {
	g.mu.Lock()
	if !g.closing {
		g.closing = true
		if len(g.clients) == 0 {
			close(g.empty)
		}
	}
	g.mu.Unlock()
	g.net.StopAccepting()
	g.pauses.close()
	for _, c := range g.list() {
		c.drain()
	}
	var err error
	select {
	case <-g.empty:
	case <-ctx.Done():
	case <-time.After(shutdownGrace):
		for _, c := range g.list() {
			c.refuse()
		}
	}
	select {
	case <-g.empty:
	case <-ctx.Done():
		err = ctx.Err()
		for _, c := range g.list() {
			c.out.Close()
		}
		g.cancel()
		<-g.empty
	}
	err = cmp.Or(err, g.net.AwaitLastWrites(ctx))
	g.cancel()
	g.net.Close() // it may start workers until it returns
	g.servers.Wait()
	g.workers.Wait()
	return err
}

// drain ends the connection after the replies to all that the client has sent. It cancels blocking commands and
// subscriptions.
func (c *client) drain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.in.eof = true
	c.hangUpLocked()
	c.closeIfDoneLocked()
}

// shutdownGrace is how long a shutdown accepts requests from clients that always have a command in flight.
const shutdownGrace = time.Second

// refuse accepts no more requests and ends the connection after the pending replies.
func (c *client) refuse() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closing = true
	c.closeIfDoneLocked()
}

// list returns all clients.
func (g *Gateway) list() []*client {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.listLocked()
}

func (g *Gateway) listLocked() []*client {
	all := make([]*client, 0, len(g.clients))
	for c := range g.clients {
		all = append(all, c)
	}
	return all
}

// operatorCommands are the commands that clients beyond MaxClients may run.
var operatorCommands = []string{"AUTH", "HELLO", "PING", "QUIT", "RESPOOL", "CLIENT", "RESET"}

// denyReason returns the error reply if a client beyond MaxClients may not run a command, or an empty string. The
// limits of the client end as soon as the number of clients is within MaxClients. While clients move between processes,
// each process has only a part of them.
func (g *Gateway) denyReason(c *client, args [][]byte) string {
	g.mu.Lock()
	c.operatorOnly = g.arriving || g.moving != nil || len(g.clients) > g.settings.Load().MaxClients
	g.mu.Unlock()
	if !c.operatorOnly || slices.ContainsFunc(operatorCommands, func(name string) bool { return bytes.EqualFold(args[0], []byte(name)) }) {
		return ""
	}
	return maxClients
}

// forget removes a client that has left.
func (g *Gateway) forget(c *client) {
	var s Stats
	c.mu.Lock()
	c.countLocked(&s)
	c.mu.Unlock()
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.clients, c)
	if g.hosts[c.host]--; g.hosts[c.host] == 0 {
		delete(g.hosts, c.host)
	}
	g.past.closed++
	g.past.commands += s.Commands
	g.past.bytesIn += s.BytesIn
	g.past.bytesOut += s.BytesOut
	if g.closing && len(g.clients) == 0 {
		close(g.empty)
	}
}

// Pause holds back all commands to the server until Resume, or for at most d. Commands in flight complete. Another
// Pause replaces d.
func (g *Gateway) Pause(d time.Duration) { g.pauses.pause(byConsole, pauseServer, d) }

// Resume ends all pauses, including those of clients.
func (g *Gateway) Resume() { g.pauses.resume(byConsole) }

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
