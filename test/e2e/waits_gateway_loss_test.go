package e2e_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/gateway"
	"github.com/seed-2b0d76a6/respool/resp"
)

// gatewayConsumers receive elements as clients of a gateway. Some of them end while they wait.
type gatewayConsumers struct {
	t       *testing.T
	l       *ledger
	addr    string
	conns   [consumers]*gatewayConsumer // nil: not connected
	replies atomic.Int64                // with elements

	mu       sync.Mutex
	operator *rawConn // ends the waits of others
	ends     map[ending]int
}

type gatewayConsumer struct {
	rawConn
	id string
}

// ending is a way to end a wait.
type ending string

const (
	byFIN     ending = "FIN"
	byRST     ending = "RST"
	byUnblock ending = "UNBLOCK"
	byKill    ending = "KILL"
)

// Clients of a gateway that end by FIN or RST, that are killed or unblocked, lose no element, except those in replies
// that they did not read.
func TestClientsOfAGatewayThatEndLoseNothing(t *testing.T) {
	s := store(t)
	c := newClient(t, s, func(o *respool.Options) { o.MaxConnections = 5 })
	g, err := gateway.New(c.Engine(), gateway.Config{})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- g.Serve(listener) }()
	x := &gatewayConsumers{t: t, l: newLedger(s.Version()), addr: listener.Addr().String(), ends: map[ending]int{}}
	x.operator = dialRaw(t, x.addr, 2)
	x.l.deliver(seed(t), x.l.has(*elementCount), direct(s), x.consume)
	for i := range x.conns {
		x.close(i)
	}
	if err := g.Shutdown(bounded(t)); err != nil {
		t.Error(err)
	}
	<-served
	unread := -int(x.replies.Load())
	for _, one := range c.Stats().Blocking.Commands {
		unread += int(one.Served)
	}
	lost, dropped := lostSoFar(c)
	x.l.check(t, c, 2*dropped+2*unread, nil)
	t.Logf("waits ended by %v; %d replies were not read", x.ends, unread)
	if unread < 0 || unread > x.ends[byRST] || lost > 0 {
		t.Errorf("%d replies were not read, after %d RST; %d elements are lost", unread, x.ends[byRST], lost)
	}
	if len(x.ends) != 4 {
		t.Errorf("waits ended by %v only", x.ends)
	}
}

// consume runs one blocking command. Half of those that wait longer than some ms end otherwise.
func (x *gatewayConsumers) consume(_ context.Context, r *rand.Rand, i int) {
	if x.conns[i] == nil && !x.open(i, 2+r.IntN(2)) {
		return
	}
	c := x.conns[i]
	timeout := []string{"0.003", "0.1"}[r.IntN(2)]
	if _, err := c.conn.Write(appendCommand(nil, strings.Fields(x.l.consumption(i, timeout)))); err != nil {
		x.t.Error(err)
		x.close(i)
		return
	}
	how := r.IntN(16)
	if how < 8 {
		x.take(c.receive())
		return
	}
	if x.take(c.receiveBy(time.Now().Add(time.Duration(r.IntN(4000)) * time.Microsecond))) {
		return
	}
	switch {
	case how < 10:
		x.count(byFIN)
		_ = c.conn.(*net.TCPConn).CloseWrite()
	case how < 11:
		x.count(byRST)
		_ = c.conn.(*net.TCPConn).SetLinger(0)
		x.close(i)
		return
	case how < 15:
		if x.operate("CLIENT", "UNBLOCK", c.id, []string{"TIMEOUT", "ERROR"}[r.IntN(2)]) {
			x.count(byUnblock)
		}
		x.take(c.receive())
		return
	default:
		if x.operate("CLIENT", "KILL", "ID", c.id) {
			x.count(byKill)
		}
	}
	for x.take(c.receive()) { // until the gateway closes the connection
	}
	x.close(i)
}

// open connects a consumer and reports whether that succeeded.
func (x *gatewayConsumers) open(i, protocol int) bool {
	conn, err := net.Dial("tcp", x.addr)
	if err != nil {
		x.t.Error(err)
		return false
	}
	c := &gatewayConsumer{rawConn: rawConn{conn: conn}}
	x.conns[i] = c
	c.ask("HELLO", fmt.Sprint(protocol))
	c.id = strings.Trim(c.ask("CLIENT", "ID"), ":\r\n")
	return true
}

func (x *gatewayConsumers) close(i int) {
	if c := x.conns[i]; c != nil {
		_ = c.conn.Close()
		x.conns[i] = nil
	}
}

func (x *gatewayConsumers) count(e ending) {
	x.mu.Lock()
	x.ends[e]++
	x.mu.Unlock()
}

// operate runs a command that returns 1 if it ends the wait of a client.
func (x *gatewayConsumers) operate(args ...string) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch reply := x.operator.ask(args...); reply {
	case ":1\r\n":
		return true
	case ":0\r\n":
	default:
		x.t.Errorf("%q returns %q", args, reply)
	}
	return false
}

// take notes the elements of a reply. It reports whether there is a reply.
func (x *gatewayConsumers) take(reply string) bool {
	v, _, err := resp.Decode([]byte(reply))
	if err != nil || strings.HasPrefix(reply, "no reply") {
		return false
	}
	if v.Kind == resp.SimpleError && !strings.HasPrefix(reply, "-UNBLOCKED ") {
		x.t.Errorf("a consumer got %q", reply)
	}
	if found := elementsInValue(&v); len(found) > 0 {
		x.replies.Add(1)
		x.l.take(found...)
	}
	return true
}

// elementsInValue is elementsIn for a decoded frame.
func elementsInValue(v *resp.Value) (found []string) {
	if text := string(v.Str); element.MatchString(text) {
		found = append(found, text)
	}
	for i := range v.Elems {
		found = append(found, elementsInValue(&v.Elems[i])...)
	}
	return found
}
