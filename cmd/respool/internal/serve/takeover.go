package serve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/config"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/connect"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/systemd"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/takeover"
	"github.com/seed-2b0d76a6/respool/internal/gateway"
)

// arrival is the takeover from a running gateway, as the new process sees it. The goroutine of Run owns it, and one goroutine
// receives the clients after Go.
type arrival struct {
	channel   *takeover.Channel
	total     int // as places, for all nodes of a cluster together
	places    int // how many connections this process may have at first
	listeners map[string]net.Listener
	pages     map[string]net.Listener
	endpoint  net.Listener // nil: the running gateway has a version without
	received  sync.WaitGroup
	done      chan struct{} // closed when the running gateway has ended
}

const (
	// helloTimeout limits the time until the running gateway replies. It sends Wait every second while it cannot begin.
	helloTimeout = 10 * time.Second
	// startTimeout limits the time that a new process has to start, and the running one to stop accepting.
	startTimeout = 30 * time.Second
	// graceOfSockets is the time after the end of a process until the server has noticed the end of its connections.
	graceOfSockets = time.Second
	// redials is how often the new process connects again if the running one ends before it makes an offer.
	redials = 20
	// mostAbsent is how often it finds nobody at the path after that, before it starts alone.
	mostAbsent = 5
)

// takeOver connects to the running gateway, and returns its offer. If no gateway runs it returns nil, and this process has the
// endpoint: those that start later take over from this one.
func (srv *Server) takeOver(s *config.Serve) (*arrival, error) {
	for left, absent := redials, 0; left > 0; left-- {
		channel, err := takeover.Dial(s.Takeover)
		if errors.Is(err, takeover.ErrNobody) {
			if left < redials && absent < mostAbsent {
				absent++ // the successor of the gateway that has ended may be about to listen
				time.Sleep(retakeAfter)
				continue
			}
			srv.endpoint, err = takeover.Claim(s.Takeover)
			if errors.Is(err, takeover.ErrTaken) {
				continue
			}
			return nil, err
		}
		if err != nil {
			return nil, err
		}
		a := &arrival{channel: channel, done: make(chan struct{}), listeners: map[string]net.Listener{}, pages: map[string]net.Listener{}}
		if err = srv.askFor(s, a); err == nil {
			return a, nil
		}
		a.close()
		if !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("take over the gateway at %s: %w", s.Takeover, err)
		}
		time.Sleep(retakeAfter)
	}
	return nil, fmt.Errorf("take over the gateway at %s: it closed %d connections without an offer", s.Takeover, redials)
}

// retakeAfter is the pause before another attempt.
const retakeAfter = 100 * time.Millisecond

// askFor exchanges the first messages.
func (srv *Server) askFor(s *config.Serve, a *arrival) error {
	opt := &s.Watch.Sampler.Options
	hello := takeover.Message{Kind: takeover.Hello, Version: takeover.Version, Server: connect.Place(opt), Max: s.MaxConnections()}
	if opt.Cluster != nil {
		hello.Total = opt.Cluster.MaxConnectionsTotal
	}
	if err := a.channel.Send(hello); err != nil {
		return io.EOF
	}
	for waits := false; ; waits = true {
		m, files, err := a.channel.Receive(helloTimeout)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return fmt.Errorf("no reply for %v: the process that listens there is stopped: continue it, or end it and start again", helloTimeout)
		case err != nil:
			return err
		case m.Kind == takeover.Wait:
			if !waits {
				srv.log.Info("the running gateway is busy with another takeover or a reload: waiting for it", "at", s.Takeover)
			}
		case m.Kind == takeover.Refusal:
			return errors.New(m.Text)
		case m.Kind == takeover.Offer:
			a.places, a.total = m.Places, m.Total
			if err := a.open(m.Names, files); err != nil || a.endpoint == nil {
				return err
			}
			srv.endpoint, err = takeover.Adopt(s.Takeover, a.endpoint)
			a.endpoint = nil
			return err
		default:
			return fmt.Errorf("it sent %v: want an offer", m.Kind)
		}
	}
}

// open makes listeners of descriptors.
func (a *arrival) open(names []takeover.Listener, files []int) (err error) {
	for i, fd := range files {
		if fd == takeover.NoFile {
			err = errors.Join(err, errFiles)
			continue
		}
		f := os.NewFile(uintptr(fd), names[i].Name)
		l, failed := net.FileListener(f)
		_ = f.Close() // the listener has a copy
		switch {
		case failed != nil:
			err = errors.Join(err, failed)
		case names[i].Takeover:
			a.endpoint = l
		case names[i].Pages:
			a.pages[names[i].Name] = l
		default:
			a.listeners[names[i].Name] = l
		}
	}
	return err
}

// errFiles is the error of a socket that was lost.
var errFiles = errors.New("too many open files: raise the limit (LimitNOFILE)")

// close ends the takeover: the running gateway goes on with what it has. This process must have no connection to the server.
func (a *arrival) close() {
	a.channel.Close()
	a.dropRest()
}

// dropRest closes the listeners that the configuration lacks.
func (a *arrival) dropRest() {
	if a.endpoint != nil {
		_ = a.endpoint.Close()
		a.endpoint = nil
	}
	for _, of := range []map[string]net.Listener{a.listeners, a.pages} {
		for name, l := range of {
			_ = l.Close()
			delete(of, name)
		}
	}
}

// pass makes the sockets of systemd that the running gateway had those of this process, if systemd has passed none to it, and
// reads the configuration with them. a is nil if no gateway runs.
func (srv *Server) pass(a *arrival, s *config.Serve) error {
	missing := slices.ContainsFunc(s.Listen, func(at config.Address) bool { return at.Network == "systemd" })
	if a != nil && srv.passed.Empty() {
		for _, name := range slices.Sorted(maps.Keys(a.listeners)) {
			if rest, ok := strings.CutPrefix(name, config.SystemdPrefix); ok {
				rest, _, _ = strings.Cut(rest, "#")
				srv.passed.Add(rest, a.listeners[name])
				delete(a.listeners, name)
				missing = true
			}
		}
	}
	if !missing {
		return nil
	}
	again, err := srv.flags.read(srv.passed, true)
	if err == nil {
		*s = again
	}
	return err
}

// begin asks the running gateway to stop accepting clients, and waits until it has.
func (srv *Server) begin(a *arrival) error {
	a.dropRest()
	_ = a.channel.Send(takeover.Message{Kind: takeover.Ready}) // after an error Receive returns why, or the end
	m, _, err := a.channel.Receive(startTimeout)
	switch {
	case errors.Is(err, io.EOF): // nobody serves any more, and this process has the listeners
		a.received.Go(func() {
			defer close(a.done)
			srv.survive(0, err)
		})
	case err == nil && m.Kind == takeover.Refusal:
		return fmt.Errorf("take over the gateway: %s", m.Text)
	case err == nil && m.Kind != takeover.Go:
		return fmt.Errorf("take over the gateway: it sent %v: want Go", m.Kind)
	case err != nil:
		return fmt.Errorf("take over the gateway: %w", err)
	default:
		srv.gateway.StartIDs(m.LastID)
		srv.gateway.Arriving(true)
		a.received.Go(func() { srv.receive(a) })
	}
	srv.log.Info("taking over: this process accepts clients now")
	systemd.Notify(srv.log, systemd.MainPID())
	return nil
}

// completeTakeover makes this process the only one. Run calls it after the end of the other one.
func (srv *Server) completeTakeover() {
	srv.arrival.close()
	srv.arrival = nil
	srv.endpoint.Own()
	for _, l := range srv.listeners {
		l.Own()
	}
}

// takingOver reports whether another process has clients that move here, or has just ended.
func (srv *Server) takingOver() bool {
	select {
	case <-srv.arrived():
		srv.completeTakeover()
	default:
	}
	return srv.arrival != nil
}

// receive serves the clients that the running gateway passes, until it ends.
func (srv *Server) receive(a *arrival) {
	defer close(a.done)
	defer srv.gateway.Arriving(false)
	topics := newExpected(srv)
	defer topics.close()
	clients, stayed := 0, 0
	for {
		m, files, err := a.channel.Receive(0)
		if err == nil && m.Kind == takeover.Refusal {
			err = errors.New(m.Text)
		}
		if err != nil {
			a.channel.Discard()
			if errors.Is(err, io.EOF) {
				srv.survive(clients, err)
				return
			}
			select {
			case srv.failed <- fmt.Errorf("take over the gateway: %w", err): // both run: the other one goes on
			case <-srv.closing:
			}
			<-srv.closing
			return
		}
		switch m.Kind {
		case takeover.Places:
			srv.client.Engine().Restrict(m.Places)
			srv.client.Engine().RestrictTotal(m.Total)
		case takeover.Mark:
			topics.running.Go(func() { topics.mark(a.channel, m.Text) })
		case takeover.Prepare:
			topics.running.Go(func() { topics.prepare(a.channel, &m) })
		case takeover.Move:
			if srv.adopt(a, &m, files[0], topics.take(m.Number)) {
				clients++
			} else {
				stayed++
			}
		case takeover.Done:
			srv.client.Engine().Unrestrict()
			srv.log.Info("took over the gateway", "clients", clients, "stayed", stayed)
			return
		}
	}
}

// adopt serves one client. It reports false if the client stays in the other process.
func (srv *Server) adopt(a *arrival, m *takeover.Message, fd int, topics *gateway.Arrival) bool {
	text := ""
	var start func()
	err := errFiles
	if fd != takeover.NoFile {
		start, err = srv.gateway.Adopt(fd, m.Client, topics)
	}
	if err != nil {
		takeover.CloseFile(fd)
		if topics != nil {
			topics.Drop()
		}
		text = err.Error()
		srv.log.Warn("cannot take over a client", "id", m.Client.Session.ID, "addr", m.Client.Session.Addr, "error", err)
	}
	// If this fails, the other process has ended, so the client is here.
	_ = a.channel.Send(takeover.Message{Kind: takeover.Moved, Number: m.Number, Text: text})
	if start != nil {
		start()
	}
	return start != nil
}

// survive uses all connections after the end of the other process.
func (srv *Server) survive(clients int, err error) {
	select {
	case <-srv.closing:
		return
	default:
	}
	srv.log.Warn("the other gateway ended during the takeover: its remaining clients are lost", "adopted", clients, "error", err)
	select {
	case <-time.After(graceOfSockets):
	case <-srv.closing:
	}
	srv.client.Engine().Unrestrict()
}

// expected holds the subscriptions of the clients that will move here.
type expected struct {
	srv     *Server
	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu       sync.Mutex // taken under the lock of a hub
	arrivals map[uint64]*expectedClient
	stop     func() // of the marks
}

type expectedClient struct {
	*gateway.Arrival
	batch uint64
	taken bool // the client has come
	open  bool // its mark has come
}

func newExpected(srv *Server) *expected {
	e := &expected{srv: srv, arrivals: map[uint64]*expectedClient{}}
	e.ctx, e.cancel = context.WithCancel(context.Background())
	return e
}

// marksTimeout limits the wait for marks that the server sent before the other process ended.
const marksTimeout = 2 * time.Second

// close drops the subscriptions of the clients that did not come.
func (e *expected) close() {
	e.cancel()
	e.running.Wait()
	for by := time.Now().Add(marksTimeout); e.late() && time.Now().Before(by); {
		select {
		case <-time.After(lendEvery):
		case <-e.srv.closing:
			return
		}
	}
	for _, a := range e.arrivals {
		if a.taken {
			a.Open() // if its mark was lost with the other process
		} else {
			a.Drop()
		}
	}
	if e.stop != nil {
		e.stop()
	}
}

// mark subscribes to the channel of the marks.
func (e *expected) mark(channel *takeover.Channel, name string) {
	stop, err := e.srv.gateway.Marks(e.ctx, name, e.came, func() {})
	if err == nil {
		e.mu.Lock()
		e.stop = stop
		e.mu.Unlock()
	}
	reply(channel, 0, err)
}

// came notes a mark. It is called where messages are delivered.
func (e *expected) came(payload string) {
	batch, err := strconv.ParseUint(payload, 10, 64)
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, a := range e.arrivals {
		if err == nil && a.batch == batch {
			a.open = true
			a.Open()
		}
	}
}

// late reports whether the mark of a client that has come is missing.
func (e *expected) late() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, a := range e.arrivals {
		if a.taken && !a.open {
			return true
		}
	}
	return false
}

// prepare subscribes for a client.
func (e *expected) prepare(channel *takeover.Channel, m *takeover.Message) {
	a, err := e.srv.gateway.Expect(e.ctx, m.Topics, m.Proto)
	if err == nil {
		e.mu.Lock()
		e.arrivals[m.Number] = &expectedClient{Arrival: a, batch: m.Batch}
		e.mu.Unlock()
	}
	reply(channel, m.Number, err)
}

func reply(channel *takeover.Channel, number uint64, err error) {
	m := takeover.Message{Kind: takeover.Prepared, Number: number}
	if err != nil {
		m.Text = err.Error()
	}
	_ = channel.Send(m) // after an error the goroutine that receives ends
}

// take returns the subscriptions of a client, or nil. The mark may come later: then Open has to find them still.
func (e *expected) take(number uint64) *gateway.Arrival {
	e.mu.Lock()
	defer e.mu.Unlock()
	a := e.arrivals[number]
	if a == nil {
		return nil
	}
	a.taken = true
	return a.Arrival
}
