package serve

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/connect"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/systemd"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/takeover"
	"github.com/seed-2b0d76a6/respool/internal/gateway"
)

// handover is a takeover of this gateway. The goroutine of Run owns it, except where noted.
type handover struct {
	srv    *Server
	with   *request
	most   int    // sockets to each node, of both processes together
	keep   int    // sockets that this process may have
	lent   int    // sockets that the other process may have
	total  shared // sockets to all nodes of a cluster
	closed bool   // this process does not accept
	began  time.Time
	result chan received // from the goroutine that receives

	receiver, sender sync.WaitGroup

	mu      sync.Mutex // guards the fields below, and wakes the sender
	wake    *sync.Cond
	next    uint64
	places  *takeover.Message    // not sent; nil: none
	waiting []*gateway.Departure // not sent
	flying  map[uint64]*gateway.Departure
	moved   int
	stayed  int
	broken  bool // nothing is sent any more
	topics  topicsHandover
}

// shared is the sockets of both processes to all nodes of a cluster, if they have a limit.
type shared struct{ most, keep, lent int }

type received struct {
	m   takeover.Message
	err error
}

// handOver passes everything to another process. It returns true when this process must end.
func (srv *Server) handOver(with *request, stop <-chan os.Signal, tick <-chan time.Time) (ended bool) {
	h := &handover{srv: srv, with: with, result: make(chan received, 4), flying: map[uint64]*gateway.Departure{}}
	h.wake = sync.NewCond(&h.mu)
	h.topics.init()
	if why := h.refusal(); why != "" {
		srv.log.Warn("refused a takeover", "error", why)
		_ = with.channel.Send(takeover.Message{Kind: takeover.Refusal, Text: why})
		with.channel.Close()
		return false
	}
	h.receiver.Go(h.receive)
	if err := h.prepare(stop, tick); err != nil {
		srv.log.Warn("the takeover failed: this gateway goes on", "error", err)
		h.goOn(err)
		return false
	}
	h.sender.Go(h.send)
	h.sender.Go(h.moveSubscribers)
	if !h.run(stop, tick) {
		return false
	}
	with.channel.Close()
	h.receiver.Wait()
	return true
}

// refusal returns why no process may take over now, or an empty string.
func (h *handover) refusal() string {
	srv := h.srv
	opt := &srv.options
	switch place := connect.Place(opt); {
	case place != h.with.hello.Server:
		return fmt.Sprintf("the running gateway is for %s, and this one for %s: restart instead", place, h.with.hello.Server)
	case len(srv.gateway.Pauses()) > 0:
		return "the running gateway is paused: resume it first"
	}
	own, _ := srv.client.Engine().Total()
	h.total.most = min(own, h.with.hello.Total)
	cluster := srv.client.Engine().Stats().Cluster
	switch {
	case own == 0 && h.with.hello.Total == 0:
	case h.total.most <= 0:
		return "only one of the configurations has max_connections_total: restart instead"
	case cluster != nil && h.total.most < 2*len(cluster.Primaries):
		return fmt.Sprintf("max_connections_total is %d, and two gateways need a connection to each of %d primaries: restart instead", h.total.most, len(cluster.Primaries))
	}
	return ""
}

// prepare lends places, offers the listeners and waits until the other process is ready. Then it stops accepting.
func (h *handover) prepare(stop <-chan os.Signal, tick <-chan time.Time) error {
	srv := h.srv
	h.most = max(1, min(srv.settings.MaxConnections(), h.with.hello.Max))
	h.keep = max(1, h.most-max(1, h.most/2))
	srv.client.Engine().Restrict(h.keep)
	h.total.keep = h.total.most - h.total.most/2
	h.restrictTotal(h.total.keep)
	free := func() bool {
		return h.lendable() >= h.most-h.keep && h.lendableTotal() >= h.total.most-h.total.keep
	}
	for by := time.Now().Add(time.Second); !free() && time.Now().Before(by); {
		select {
		case <-time.After(lendEvery):
		case s := <-stop:
			srv.stopped = true
			return fmt.Errorf("this gateway stops: %v", s)
		case <-tick:
			systemd.Notify(srv.log, systemd.Alive)
		}
	}
	h.lent, h.total.lent = max(0, h.lendable()), h.lendableTotal()
	if err := srv.sendOffer(h.with.channel, h.lent, h.total.lent); err != nil {
		return err
	}
	timeout := time.After(startTimeout)
	for {
		select {
		case r := <-h.result:
			if r.err == nil && r.m.Kind != takeover.Ready {
				r.err = fmt.Errorf("it sent %v: want Ready", r.m.Kind)
			}
			if r.err != nil {
				return fmt.Errorf("the new process: %w", r.err)
			}
			h.closed = true
			srv.stopAccepting()
			if err := h.with.channel.Send(takeover.Message{Kind: takeover.Go, LastID: srv.gateway.LastID()}); err != nil {
				return err
			}
			return nil
		case <-timeout:
			return fmt.Errorf("the new process was not ready within %v", startTimeout)
		case s := <-stop:
			srv.stopped = true
			return fmt.Errorf("this gateway stops: %v", s)
		case <-tick:
			systemd.Notify(srv.log, systemd.Alive)
		}
	}
}

// lendEvery is the interval at which the process looks for sockets that it can lend, and for clients that can move.
const lendEvery = 5 * time.Millisecond

// lendable returns how many sockets to each node the other process may have now.
func (h *handover) lendable() int {
	used := h.keep
	for _, n := range h.srv.client.Engine().Stats().Nodes {
		used = max(used, n.Sockets())
	}
	return h.most - used
}

// restrictTotal limits the sockets of this process to all nodes of a cluster together.
func (h *handover) restrictTotal(n int) {
	if own, _ := h.srv.client.Engine().Total(); own > 0 {
		h.srv.client.Engine().RestrictTotal(n)
	}
}

// lendableTotal is lendable for all nodes of a cluster together.
func (h *handover) lendableTotal() int {
	own, free := h.srv.client.Engine().Total()
	return max(0, free-(own-h.total.most))
}

// lend lends the sockets that this process does not need any more.
func (h *handover) lend() {
	need, all := 0, 0
	if h.srv.gateway.Clients()+h.srv.handshakes() > 0 {
		need = 1
		for _, n := range h.srv.client.Engine().Stats().Nodes {
			of := 1 + n.Dedicated + n.Subscribed
			need = max(need, of)
			all += of
		}
		if need = min(need, h.most-1); time.Since(h.began) < onlyPlaceFor {
			need = max(need, 1)
		}
	}
	if need < h.keep {
		h.keep = need
		h.srv.client.Engine().Restrict(need)
	}
	if all = min(all, h.total.most); all < h.total.keep {
		h.total.keep = all
		h.restrictTotal(all)
	}
	if n, total := h.lendable(), h.lendableTotal(); n > h.lent || total > h.total.lent {
		h.lent, h.total.lent = max(n, h.lent), max(total, h.total.lent)
		h.mu.Lock()
		h.places = &takeover.Message{Kind: takeover.Places, Places: h.lent, Total: h.total.lent}
		h.wake.Signal()
		h.mu.Unlock()
	}
}

// onlyPlaceFor is how long this process keeps the only place, if there is one, for the clients that move.
const onlyPlaceFor = 2 * time.Second

// run moves the clients until none is left, or until the drain is over. It returns false if the other process has ended: then
// this gateway goes on.
func (h *handover) run(stop <-chan os.Signal, tick <-chan time.Time) (ended bool) {
	srv := h.srv
	h.began = time.Now()
	over, every := time.After(srv.settings.Drain), time.NewTicker(lendEvery)
	defer every.Stop()
	srv.log.Info("handing over", "clients", srv.gateway.Clients(), "drain", srv.settings.Drain)
	for quiet := 0; quiet < 2; {
		select {
		case <-every.C:
			srv.gateway.MoveClients(h)
			h.lend()
			if quiet++; srv.gateway.Clients()+srv.handshakes() > 0 {
				quiet = 0
			}
		case r := <-h.result:
			if r.err == nil {
				r.err = fmt.Errorf("it sent %v", r.m.Kind)
			}
			srv.log.Warn("the new process ended during the takeover: this gateway goes on", "lost", h.lose(), "error", r.err)
			h.goOn(r.err)
			return false
		case <-over:
			srv.log.Info("the drain is over: disconnecting the clients that cannot move", "clients", srv.gateway.Clients())
			quiet = 2
		case <-stop:
			srv.log.Warn("a signal: disconnecting the clients that have not moved", "clients", srv.gateway.Clients())
			quiet = 2
		case <-tick:
			systemd.Notify(srv.log, systemd.Alive)
		}
	}
	srv.log.Info("closing the connections to the server", "clients", srv.gateway.Clients(), "after", time.Since(h.began).Round(time.Millisecond))
	h.finish()
	return true
}

// finish ends this gateway and lends all its sockets.
func (h *handover) finish() {
	srv := h.srv
	h.breakOff()
	h.with.channel.SendBy(time.Now().Add(lastSend))
	h.sender.Wait() // it uses a descriptor
	h.mu.Lock()
	flying := h.flying
	h.flying = map[uint64]*gateway.Departure{}
	moved, stayed := h.moved+len(flying), h.stayed
	h.mu.Unlock()
	for _, d := range flying { // the other process is slow
		d.Done(true) // it has the client
	}
	srv.gateway.StayClients()
	for _, l := range srv.listeners {
		_ = l.Leave()
	}
	srv.endpoint.Leave()
	srv.close()
	h.with.channel.SendBy(time.Now().Add(lastSend))
	_ = h.with.channel.Send(takeover.Message{Kind: takeover.Done})
	srv.log.Info("handed over", "moved", moved, "stayed", stayed, "took", time.Since(h.began).Round(time.Millisecond))
}

// lastSend limits the time of a message after which this process does not need the other one.
const lastSend = time.Second

// Depart takes a client that can move. It is called while locks are held.
func (h *handover) Depart(d *gateway.Departure) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.broken {
		go d.Done(false) // the caller holds the client's lock
		return
	}
	h.waiting = append(h.waiting, d)
	h.wake.Signal()
}

// send sends the clients. It runs on its own goroutine: the other process may be slow.
func (h *handover) send() {
	for {
		h.mu.Lock()
		for len(h.waiting) == 0 && h.places == nil && !h.broken {
			h.wake.Wait()
		}
		if h.broken {
			waiting := h.waiting
			h.waiting = nil
			h.mu.Unlock()
			for _, d := range waiting {
				d.Done(false)
			}
			return
		}
		// After an error the goroutine that receives reports the end.
		if places := h.places; places != nil {
			h.places = nil
			h.mu.Unlock()
			_ = h.with.channel.Send(*places)
			continue
		}
		d := h.waiting[0]
		h.waiting = h.waiting[1:]
		number, named := uint64(0), false
		if d.Subscriber != nil {
			number, named = d.Subscriber.Number.(uint64)
		}
		if !named {
			h.next++
			number = h.next
		}
		h.flying[number] = d
		h.mu.Unlock()
		err := h.with.channel.Send(takeover.Message{Kind: takeover.Move, Number: number, Client: &d.Snapshot}, d.Descriptor)
		if errors.Is(err, takeover.ErrTooLarge) {
			h.landed(number, err.Error())
		}
	}
}

// landed ends a departure. why is empty if the other process has the client.
func (h *handover) landed(number uint64, why string) {
	h.mu.Lock()
	d := h.flying[number]
	delete(h.flying, number)
	switch {
	case d == nil:
	case why == "":
		h.moved++
	default:
		h.stayed++
	}
	h.mu.Unlock()
	switch {
	case d == nil:
	case why == "":
		d.Done(true)
	default:
		h.srv.log.Warn("a client stays until the end of the drain", "id", d.Snapshot.Session.ID, "addr", d.Snapshot.Session.Addr, "error", why)
		d.Refuse()
	}
}

// receive passes messages to Run, and ends departures. It runs on its own goroutine.
func (h *handover) receive() {
	for {
		m, _, err := h.with.channel.Receive(0)
		if err == nil && m.Kind == takeover.Prepared {
			h.topics.prepared(m)
			continue
		}
		if err == nil && m.Kind == takeover.Moved {
			h.landed(m.Number, m.Text)
			continue
		}
		select {
		case h.result <- received{m, err}:
		default:
		}
		if err != nil {
			return
		}
	}
}

// breakOff ends the goroutine that sends.
func (h *handover) breakOff() {
	h.mu.Lock()
	h.broken = true
	h.wake.Signal()
	h.mu.Unlock()
	h.topics.end()
}

// lose takes back the clients that the other process has not confirmed, and returns how many it has confirmed.
func (h *handover) lose() (lost int) {
	h.breakOff()
	h.with.channel.SendBy(time.Now().Add(lastSend))
	h.sender.Wait() // it uses a descriptor
	h.mu.Lock()
	flying := h.flying
	h.flying = map[uint64]*gateway.Departure{}
	lost = h.moved
	h.mu.Unlock()
	for _, d := range flying {
		d.Done(false)
	}
	return lost
}

// handshakes returns the number of clients in a TLS handshake.
func (srv *Server) handshakes() (n int) {
	for _, l := range srv.listeners {
		n += l.Handshakes()
	}
	return n
}
