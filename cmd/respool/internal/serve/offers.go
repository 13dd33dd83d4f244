package serve

import (
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/listener"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/page"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/takeover"
)

// offers accepts the processes that take over. Each has a goroutine until Run takes it, or until it is refused.
type offers struct {
	endpoint *takeover.Endpoint
	over     chan struct{} // closed when nobody can take over from this process any more
	running  sync.WaitGroup

	mu       sync.Mutex
	channels map[*takeover.Channel]struct{} // those of the goroutines
}

// hold notes that a goroutine uses a channel, so that close ends that use.
func (o *offers) hold(c *takeover.Channel) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.channels[c] = struct{}{}
	select {
	case <-o.over:
		c.Close()
	default:
	}
}

// release ends the effect of hold.
func (o *offers) release(c *takeover.Channel) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.channels, c)
}

// request is a process that takes over, with its first message.
type request struct {
	channel *takeover.Channel
	hello   takeover.Message
}

// offer lets other processes take over. It listens at the path, unless it has the endpoint there.
func (srv *Server) offer() error {
	if srv.settings.Takeover == "" {
		return nil
	}
	if e := srv.endpoint; e == nil || !e.Reachable() { // a process without Listener.Takeover had it, or has replaced it
		if e != nil {
			e.Leave()
		}
		var err error
		if srv.endpoint, err = takeover.Listen(srv.settings.Takeover); err != nil {
			return err
		}
	}
	endpoint := srv.endpoint
	endpoint.Resume()
	o := &offers{endpoint: endpoint, over: make(chan struct{}), channels: map[*takeover.Channel]struct{}{}}
	o.running.Go(func() {
		for {
			channel, err := endpoint.Accept()
			if err == nil {
				o.hold(channel)
				o.running.Go(func() { srv.greet(o, channel) })
				continue
			}
			select {
			case <-o.over:
				return
			case <-time.After(retakeAfter):
				srv.log.Warn("refused a takeover", "error", err)
			}
		}
	})
	srv.offers = o
	return nil
}

// close ends the offers. Processes that connect later wait for the next offers, or for another process with the same endpoint.
func (o *offers) close() {
	if o == nil {
		return
	}
	close(o.over)
	o.endpoint.Pause()
	o.mu.Lock()
	for c := range o.channels {
		c.Close()
	}
	o.mu.Unlock()
	o.running.Wait()
}

// greet reads the first message of a process, and passes the process to Run. The process waits while Run is busy.
func (srv *Server) greet(o *offers, channel *takeover.Channel) {
	m, _, err := channel.Receive(helloTimeout)
	if err == nil && m.Kind != takeover.Hello {
		err = fmt.Errorf("it sent %v: want Hello", m.Kind)
	}
	if err == nil && m.Version != takeover.Version {
		_ = channel.Send(takeover.Message{Kind: takeover.Refusal, Text: fmt.Sprintf(
			"the running gateway has version %d of the takeover, and this program has %d: restart instead", takeover.Version, m.Version)})
		err = fmt.Errorf("it has version %d: want %d", m.Version, takeover.Version)
	}
	o.release(channel)
	for err == nil {
		select {
		case srv.requests <- &request{channel, m}: // from now on Run closes the channel
			return
		case <-o.over:
			channel.Close()
			return
		case <-time.After(time.Second):
		}
		o.hold(channel)
		err = channel.Send(takeover.Message{Kind: takeover.Wait})
		o.release(channel)
	}
	channel.Close()
	srv.log.Warn("refused a takeover", "error", err)
}

// sendOffer sends the listeners and how many places the other process may use: to each node, and to all together.
func (srv *Server) sendOffer(channel *takeover.Channel, places, total int) error {
	var names []takeover.Listener
	var hold []func(send func() error) error // each keeps one descriptor valid
	files := []int{}
	for name, l := range srv.listeners {
		names = append(names, takeover.Listener{Name: name})
		hold = append(hold, holder(l.Control, &files))
	}
	if srv.pagesAt != nil {
		names = append(names, takeover.Listener{Pages: true, Name: srv.settings.Watch.Pages})
		hold = append(hold, holder(func(f func(uintptr)) error { return listener.Control(srv.pagesAt, f) }, &files))
	}
	names = append(names, takeover.Listener{Takeover: true, Name: "takeover"})
	hold = append(hold, holder(srv.endpoint.Control, &files))
	send := func() error {
		return channel.Send(takeover.Message{Kind: takeover.Offer, Names: names, Places: places, Total: total}, files...)
	}
	for i := len(hold) - 1; i >= 0; i-- {
		next, one := send, hold[i]
		send = func() error { return one(next) }
	}
	return send()
}

// holder returns a function that appends a descriptor to files and calls send while the descriptor is valid.
func holder(control func(func(uintptr)) error, files *[]int) func(send func() error) error {
	return func(send func() error) error {
		var sent error
		err := control(func(fd uintptr) {
			*files = append(*files, int(fd))
			sent = send()
		})
		if err != nil {
			return err
		}
		return sent
	}
}

// stopAccepting leaves new clients, the pages and the socket to the other process.
func (srv *Server) stopAccepting() {
	srv.accepting.Store(false)
	for _, l := range srv.listeners {
		l.Pause()
	}
	srv.offers.close()
	srv.offers = nil
	srv.front.Close()
	if l, ok := srv.pagesAt.(interface{ File() (*os.File, error) }); ok {
		srv.kept, _ = l.File() // without it acceptAgain listens at the address
	}
	srv.servePages(nil)
}

// acceptAgain ends the effect of stopAccepting, except for the socket of other programs: the other process ends.
func (srv *Server) acceptAgain() {
	for _, l := range srv.listeners {
		l.Resume()
	}
	var l net.Listener
	var err error
	if srv.kept != nil {
		l, err = net.FileListener(srv.kept)
		_ = srv.kept.Close() // the listener has a copy
		srv.kept = nil
	} else {
		l, err = page.Listen(srv.settings.Watch.Pages, pagesFlag)
	}
	if err != nil {
		srv.log.Error("cannot serve the pages again", "error", err)
	}
	srv.servePages(l)
	if err := srv.offer(); err != nil {
		srv.log.Error("cannot listen for takeovers again", "error", err)
	}
	srv.accepting.Store(true)
}

// openSocket ends the rest of the effect of stopAccepting: the other process has ended.
func (srv *Server) openSocket() {
	use, _, err := srv.front.Prepare(srv.settings.Watch.Socket)
	if err != nil {
		srv.log.Error("cannot open the socket again", "error", err)
		return
	}
	use()
}
