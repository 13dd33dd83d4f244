package discovery

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/seed-2b0d76a6/respool/internal/testkit/fakeserver"
	"github.com/seed-2b0d76a6/respool/internal/topology/sentinel"
	"github.com/seed-2b0d76a6/respool/resp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a set of sentinels in memory, and the nodes they tell of.
type world struct {
	mu        sync.Mutex
	sentinels map[string]*fake
	roles     map[string]string // by address: master or slave
	primary   string
	epoch     int
}

// fake is one sentinel. world.mu guards the fields after addr.
type fake struct {
	server      *fakeserver.Server
	w           *world
	addr        string
	protocol    int                                // pushes as arrays for 2
	deaf        bool                               // takes commands and answers nothing
	down        bool                               // refuses connections
	halted      bool                               // reads nothing, and notices no end
	slowClose   time.Duration                      // still counts a connection for so long after its end
	answer      func(args []string) (string, bool) // instead of the usual one
	wasSilent   bool                               // it did not answer, or not notice the end of a connection
	open, peak  int
	total       int
	conns       map[*fakeserver.Conn]bool // whether its path is dead
	lostAt      time.Time                 // when a query was lost on a dead path for the first time
	subscribers map[*fakeserver.Conn]struct{}
	commands    map[string]int
}

func newWorld(t *testing.T, addrs ...string) *world {
	w := &world{sentinels: map[string]*fake{}, roles: map[string]string{"A:6379": "master", "B:6379": "slave"}, primary: "A:6379", epoch: 1}
	for i, addr := range addrs {
		f := &fake{w: w, addr: addr, protocol: 2 + i%2, conns: map[*fakeserver.Conn]bool{}, subscribers: map[*fakeserver.Conn]struct{}{}, commands: map[string]int{}}
		f.server = fakeserver.Start(t, fakeserver.Config{Memory: true, Script: f.serve, Closed: f.closed})
		w.sentinels[addr] = f
	}
	return w
}

// change changes the world under its lock.
func (w *world) change(fn func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	fn()
}

// pipe is the client's end of a connection in memory.
type pipe struct {
	net.Conn
	protocol int
	gone     <-chan struct{} // closed when the sentinel does not count it any more
	stop     chan struct{}   // closed by Abort
	once     sync.Once
}

// Protocol is the version of the protocol that the handshake has chosen.
func (p *pipe) Protocol() int { return p.protocol }

func (p *pipe) Interrupt() { _ = p.SetDeadline(time.Unix(1, 0)) }

func (p *pipe) Linger(limit time.Duration) {
	p.Conn.Close()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-p.gone:
	case <-p.stop:
	case <-timer.C:
	}
}

func (p *pipe) Abort() {
	p.Conn.Close()
	p.once.Do(func() { close(p.stop) })
}

func (w *world) dial(ctx, _ context.Context, addr string) (Conn, error) {
	w.mu.Lock()
	f := w.sentinels[addr]
	if f == nil || f.down {
		w.mu.Unlock()
		return nil, errors.New("connection refused")
	}
	f.open++
	f.total++
	f.peak = max(f.peak, f.open)
	protocol := f.protocol
	w.mu.Unlock()
	client, server, err := f.server.Connect()
	if err != nil {
		return nil, err
	}
	p := &pipe{Conn: client, protocol: protocol, gone: server.Done(), stop: make(chan struct{})}
	select {
	case <-time.After(time.Millisecond): // the handshake
		return p, nil
	case <-ctx.Done():
		p.Linger(time.Minute)
		return nil, ctx.Err()
	}
}

func (f *fake) serve(c *fakeserver.Conn) {
	f.w.change(func() { f.conns[c] = false })
	for {
		f.awaitRun()
		args, err := c.Command()
		if err != nil {
			return
		}
		c.Write(f.reply(c, args))
	}
}

func (f *fake) closed(c *fakeserver.Conn) {
	f.w.mu.Lock()
	delete(f.subscribers, c)
	slow := f.slowClose
	if f.conns[c] {
		slow = 15 * time.Second // the close is lost too
	}
	delete(f.conns, c)
	f.w.mu.Unlock()
	time.Sleep(slow)
	f.w.change(func() { f.open-- })
}

// awaitRun waits while f is halted, looking each second of virtual time.
func (f *fake) awaitRun() {
	for {
		f.w.mu.Lock()
		halted := f.halted
		f.wasSilent = f.wasSilent || halted
		f.w.mu.Unlock()
		if !halted {
			return
		}
		time.Sleep(time.Second)
	}
}

func array(kind byte, parts ...string) string {
	text := fmt.Sprintf("%c%d\r\n", kind, len(parts))
	for _, p := range parts {
		text += fakeserver.Bulk(p)
	}
	return text
}

func (f *fake) reply(conn *fakeserver.Conn, args []string) string {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	name := strings.Join(args[:min(2, len(args))], " ")
	if f.conns[conn] {
		if args[0] == "SENTINEL" && f.lostAt.IsZero() {
			f.lostAt = time.Now()
		}
		return ""
	}
	f.commands[name]++
	if f.answer != nil {
		if text, ok := f.answer(args); ok {
			return text
		}
	}
	kind := byte('*')
	if f.protocol == 3 {
		kind = '>'
	}
	switch {
	case f.deaf:
		f.wasSilent = true
		return ""
	case args[0] == "SUBSCRIBE":
		f.subscribers[conn] = struct{}{}
		text := ""
		for i, c := range args[1:] {
			text += fmt.Sprintf("%c3\r\n", kind) + fakeserver.Bulk("subscribe") + fakeserver.Bulk(c) + fakeserver.Int(i+1)
		}
		return text
	case args[0] == "PING" && f.protocol == 2 && len(f.subscribers) > 0:
		return array('*', "pong", "")
	case args[0] == "PING":
		return "+PONG\r\n"
	case name == "SENTINEL MYID":
		return fakeserver.Bulk("id of " + f.addr)
	case name == "SENTINEL MASTER":
		host, port, _ := strings.Cut(f.w.primary, ":")
		return array('*', "name", args[2], "ip", host, "port", port, "flags", "master",
			"num-other-sentinels", fmt.Sprint(len(f.w.sentinels)-1), "config-epoch", fmt.Sprint(f.w.epoch))
	}
	return "*0\r\n"
}

// swallow makes the paths of all connections dead that there are. New ones work.
func (w *world) swallow() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, f := range w.sentinels {
		for conn := range f.conns {
			f.conns[conn], f.wasSilent = true, true
		}
		clear(f.subscribers)
	}
}

// publish sends a message to all who have subscribed at f.
func (f *fake) publish(channel, payload string) {
	f.w.mu.Lock()
	kind := byte('*')
	if f.protocol == 3 {
		kind = '>'
	}
	var conns []*fakeserver.Conn
	for c := range f.subscribers {
		conns = append(conns, c)
	}
	f.w.mu.Unlock()
	for _, c := range conns {
		c.Write(array(kind, "message", channel, payload))
	}
}

// failOver makes another node primary, and has the sentinel at addr tell.
func (w *world) failOver(to, addr string) {
	from := ""
	w.change(func() {
		from = w.primary
		w.roles[from], w.roles[to] = "slave", "master"
		w.primary = to
		w.epoch++
	})
	payload := "mymaster " + strings.ReplaceAll(from, ":", " ") + " " + strings.ReplaceAll(to, ":", " ")
	w.sentinels[addr].publish("+switch-master", payload)
}

// nodes takes what a machine decides.
type nodes struct {
	w *world

	mu      sync.Mutex
	primary string
	epoch   uint64
	losses  int
	held    int
	asked   int
	stopped bool
	late    bool // something was called after Stop
}

func (n *nodes) note(fn func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.late = n.late || n.stopped
	fn()
}

func (n *nodes) Role(_ context.Context, addr string) (resp.Value, error) {
	n.note(func() { n.asked++ })
	n.w.mu.Lock()
	role := n.w.roles[addr]
	n.w.mu.Unlock()
	bulk := func(s string) resp.Value { return resp.Value{Kind: resp.BulkString, Str: []byte(s)} }
	whole := func(i int64) resp.Value { return resp.Value{Kind: resp.Integer, Int: i} }
	switch role {
	case "master":
		return resp.Value{Kind: resp.Array, Elems: []resp.Value{bulk("master"), whole(1), {Kind: resp.Array}}}, nil
	case "slave":
		return resp.Value{Kind: resp.Array, Elems: []resp.Value{bulk("slave"), bulk("A"), whole(6379), bulk("connected"), whole(1)}}, nil
	}
	return resp.Value{}, errors.New("connection refused")
}

func (n *nodes) NewEpoch(e sentinel.NewEpoch) {
	n.note(func() { n.primary, n.epoch = e.Primary, e.Epoch })
}

func (n *nodes) Lost(sentinel.Lost)                       { n.note(func() { n.primary = ""; n.losses++ }) }
func (n *nodes) Hold(sentinel.Hold)                       { n.note(func() { n.held++ }) }
func (n *nodes) Unhold(sentinel.Unhold)                   { n.note(func() {}) }
func (n *nodes) ReplicasChanged(sentinel.ReplicasChanged) { n.note(func() {}) }

func (n *nodes) now() (primary string, epoch uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.primary, n.epoch
}

// stop stops the service, and wants nothing to be called afterwards.
func (n *nodes) stop(w *Service) {
	w.Stop()
	n.mu.Lock()
	n.stopped = true
	n.mu.Unlock()
}
