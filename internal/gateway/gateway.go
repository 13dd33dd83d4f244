// Package gateway lets clients of any language share a client's few connections: it
// speaks Redis' protocol to them and keeps each one's state by itself.
//
// Commands that share are forwarded without a goroutine: an event loop reads all sockets
// that have something, posts what it finds to lanes, writes each lane once, and the lanes'
// readers write the replies. What has to be waited for is carried out by a goroutine of its
// client, for as long as that takes. Clients over TLS, in memory, and on systems
// without epoll have goroutines of their own.
//
// A Gateway owns its listeners, loops and clients, and all their goroutines; they have ended
// when Shutdown returns. It does not own the engine.
package gateway

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/engine"
	"github.com/seed-2b0d76a6/respool/internal/gateway/netio"
	"github.com/seed-2b0d76a6/respool/internal/gateway/session"
	"github.com/seed-2b0d76a6/respool/resp"
)

// ErrClosed is the error of a Gateway after Shutdown.
var ErrClosed = netio.ErrClosed

// Gateway serves clients. All methods are safe for concurrent use.
type Gateway struct {
	engine   *engine.Engine
	settings atomic.Pointer[settings]
	ctx      context.Context // of everything; ends when the last clients are cut
	cancel   context.CancelFunc
	workers  sync.WaitGroup // of clients
	servers  sync.WaitGroup // of the reaper and of learn
	net      *netio.Server

	buffered atomic.Int64
	count    counters
	pauses   pauseControl

	greeted   atomic.Pointer[greeted]
	setting   sync.Mutex // held while settings are made and stored
	databases int        // of the server; 0 as long as it is not known

	mu      sync.Mutex
	clients map[*client]struct{}
	hosts   map[string]int
	lastID  int64
	past    past
	closing bool
	empty   chan struct{} // closed when closing and the last client is gone
}

// counters only rise.
type counters struct {
	accepted, refused, malformed, denied, slow, gaps atomic.Uint64
	queue, server                                    stopwatch
}

// past is what clients that have left counted.
type past struct{ closed, commands, bytesIn, bytesOut uint64 }

const (
	// helloLimit bounds the questions of what the server is.
	helloLimit = 5 * time.Second
	// helloWait is how long New waits for the answers.
	helloWait = time.Second
	// helloEvery is how often they are asked again, while the server does not answer.
	helloEvery = time.Second
)

// New makes a gateway before an engine, which it does not own. It asks the server for its
// version and how many databases there are. Where there is no answer within a second it goes on
// without, and asks until there is one.
func New(e *engine.Engine, cfg Config) (*Gateway, error) {
	g := &Gateway{
		engine: e, clients: map[*client]struct{}{}, hosts: map[string]int{},
		empty: make(chan struct{}),
	}
	g.ctx, g.cancel = context.WithCancel(context.Background())
	g.pauses.init()
	g.net = netio.NewServer((*host)(g))
	if err := cfg.Check(); err != nil {
		g.cancel()
		return nil, err
	}
	known := make(chan struct{})
	g.servers.Go(func() { g.learn(known) })
	select {
	case <-known:
	case <-time.After(helloWait):
	}
	if err := g.Reload(cfg); err != nil {
		g.cancel()
		return nil, err
	}
	g.servers.Go(g.reap)
	context.AfterFunc(g.ctx, g.engine.OnDisowned(g.disowned))
	return g, nil
}

// learn asks what the server is until there is an answer. Clients that come later are told.
func (g *Gateway) learn(known chan<- struct{}) {
	defer close(known)
	for {
		is, databases, ok := g.ask()
		if ok {
			g.setting.Lock()
			defer g.setting.Unlock()
			g.greeted.CompareAndSwap(nil, &greeted{is: is})
			g.databases = databases
			if old := g.settings.Load(); old != nil {
				if set, err := g.newSettingsLocked(old.Config); err == nil {
					g.settings.Store(set)
				}
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

// ask asks once. A server that refuses to tell has answered too.
func (g *Gateway) ask() (is *session.Greeting, databases int, ok bool) {
	ctx, cancel := context.WithTimeout(g.ctx, helloLimit)
	defer cancel()
	info, err := g.engine.Do(ctx, []any{"INFO", "server"})
	if refusal := resp.ErrorIn(info); err != nil || refusal != nil && refusal.Code == "LOADING" {
		return nil, 0, false
	}
	about, _ := resp.StringOf(info)
	if pair, err := g.engine.Do(ctx, []any{"CONFIG", "GET", "databases"}); err == nil {
		if elements, err := resp.Elements(pair); err == nil && len(elements) == 2 {
			text, _ := resp.StringOf(elements[1])
			databases, _ = strconv.Atoi(string(text))
		}
	}
	return greetingOf(string(about)), databases, true
}

// Reload makes another configuration hold. Clients stay, also those beyond a lower
// limit, but for those whose user is gone or disabled; a new password is asked of new clients
// alone. On an error nothing has changed.
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
			c.out.Close()
		}
	}
	return nil
}

// Shutdown stops accepting, lets what clients have sent be answered, and closes their
// connections. Of those that send on and on it takes no more after some time. When ctx
// ends it cuts what is left, and returns the error of ctx.
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
	g.net.Close() // it starts workers until then
	g.servers.Wait()
	g.workers.Wait()
	return err
}

// drain ends the connection once what it has sent is answered. Blocked commands and subscriptions are cut.
func (c *client) drain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.in.eof = true
	c.hangUpLocked()
	c.closeIfDoneLocked()
}

// shutdownGrace is for how long a shutdown lets clients that are never without a command under way go on.
const shutdownGrace = time.Second

// refuse takes no more from the client, and ends the connection once what was taken is answered.
func (c *client) refuse() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closing = true
	c.closeIfDoneLocked()
}

// list gives all clients.
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

// operatorCommands are what may be done on the places kept for operators.
var operatorCommands = []string{"AUTH", "HELLO", "PING", "QUIT", "RESPOOL", "CLIENT", "RESET"}

// denyReason says why a client that came when all places were taken may not run a command; empty if
// it may, or there is room by now.
func (g *Gateway) denyReason(c *client, args [][]byte) string {
	g.mu.Lock()
	c.reserve = len(g.clients) > g.settings.Load().MaxClients
	g.mu.Unlock()
	if !c.reserve || slices.ContainsFunc(operatorCommands, func(name string) bool { return bytes.EqualFold(args[0], []byte(name)) }) {
		return ""
	}
	return maxClients
}

// forget takes note that a client has left.
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

// Pause lets no command through to the server until Resume, or for d at most. Those in flight end. Pausing again
// changes the time.
func (g *Gateway) Pause(d time.Duration) { g.pauses.pause(byConsole, pauseServer, d) }

// Resume ends a pause, and those of clients.
func (g *Gateway) Resume() { g.pauses.resume(byConsole) }
