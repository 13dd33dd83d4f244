// Package serve runs the gateway as a program: its flags, listeners, reloads, pages
// and its orderly end. The gateway itself is internal/gateway. A Server owns one
// goroutine for each listener, the upstream probe, the watch, the attempt of a
// reload, and the rest of a failed takeover; Run waits for all of them.
package serve

import (
	"cmp"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/config"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/embedded"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/listener"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/page"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/page/live"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/relay"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/systemd"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/takeover"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/watch"
	"github.com/seed-2b0d76a6/respool/internal/gateway"
	respoolprom "github.com/seed-2b0d76a6/respool/metrics/prometheus"
)

// addresses are the addresses in use, by their configured names.
func (srv *Server) addresses() map[string]string {
	m := map[string]string{}
	for name, l := range srv.listeners {
		m[name] = l.Addr().String()
	}
	return m
}

// Server is a running gateway with its watch. The goroutine of Run owns all fields except where
// noted.
type Server struct {
	flags  Flags
	log    *slog.Logger
	out    io.Writer // for the banner
	passed *systemd.Sockets

	settings  config.Serve
	embedded  *embedded.Server // nil if there is a URL
	pool      *respoolprom.Pool
	client    *respool.Client
	options   respool.Options // of client, as configured last
	gateway   *gateway.Gateway
	drained   bool                          // the gateway has shut down
	listeners map[string]*listener.Listener // by the names of their addresses
	watcher   *watch.Watcher
	probe     *upstreamProbe
	pages     *page.Pages
	front     *watch.Front
	http      *http.Server
	page      string // the URL of the pages at the start; empty: none

	endpoint *takeover.Endpoint // of takeovers; nil: none
	offers   *offers            // at endpoint; nil: none
	arrival  *arrival           // the takeover by this process; nil: none
	requests chan *request
	closing  chan struct{} // closed by close
	stopped  bool          // a signal came during a takeover
	reclaim  *reclaim      // of a failed takeover; nil: none
	pagesAt  net.Listener  // nil: nowhere
	kept     *os.File      // the listener of the pages, while another process has it; nil: none

	attempt     *attempt // of a reload; nil: none
	reloadAgain bool     // a signal came during attempt or reclaim

	accepting atomic.Bool // read by the pages
	acceptors sync.WaitGroup
	failed    chan error // why a listener stopped without being closed
}

// New returns a gateway that Run will start. It writes its banner to out.
func New(flags Flags, log *slog.Logger, out io.Writer, passed *systemd.Sockets) *Server {
	return &Server{flags: flags, log: log, out: out, passed: passed, requests: make(chan *request), closing: make(chan struct{})}
}

// Run serves until stop receives a value or a listener fails. A second value of stop cuts the drain
// short. Each value of hup reloads the configuration; those that come during a reload, or at the end of a failed takeover, cause one more.
func (srv *Server) Run(s config.Serve, hup, stop <-chan os.Signal) error {
	defer srv.close()
	if err := srv.start(s); err != nil {
		return err
	}
	srv.accepting.Store(true)
	srv.warnFileLimit()
	srv.settings.Banner(srv.out, srv.addresses())
	if srv.page != "" {
		fmt.Fprintf(srv.out, "the page: %s/\n\n", srv.page)
	}
	systemd.Notify(srv.log, systemd.Ready)
	tick, stopTicks := systemd.Watchdog(srv.log)
	defer stopTicks()
	for {
		select {
		case with := <-srv.takeovers():
			if srv.handOver(with, stop, tick) {
				return nil
			}
			if srv.stopped {
				srv.drain(stop, tick)
				return nil
			}
		case <-srv.arrived():
			srv.completeTakeover()
		case <-stop:
			srv.drain(stop, tick)
			return nil
		case err := <-srv.failed:
			srv.drain(stop, tick)
			return err
		case <-hup:
			srv.reload()
		case <-srv.tried():
			srv.finishReload()
		case <-srv.reclaimed():
			srv.finishReclaim()
		case <-tick:
			systemd.Notify(srv.log, systemd.Alive)
		}
	}
}

// start opens everything. If it fails, close closes the parts that are open.
func (srv *Server) start(s config.Serve) error {
	srv.failed = make(chan error, 1)
	var err error
	if s.Takeover != "" {
		if srv.arrival, err = srv.takeOver(&s); err != nil {
			return err
		}
		if err := srv.pass(srv.arrival, &s); err != nil {
			return err
		}
	}
	if err := srv.connect(&s); err != nil {
		return err
	}
	s.Watch.Sampler.Client = srv.client // its connections count within max_connections
	srv.settings = s
	var inherited map[string]net.Listener
	if srv.arrival != nil {
		inherited = srv.arrival.listeners
	}
	if srv.listeners, err = srv.openListeners(s.Listen, inherited); err != nil {
		return err
	}
	l, err := srv.listenPages(s.Watch.Pages)
	if err != nil {
		return err
	}
	srv.probe = startUpstreamProbe(srv.client, srv.log)
	if srv.watcher, err = watch.Start(s.Watch, srv.log, srv.poolViews()); err != nil {
		if l != nil {
			_ = l.Close()
		}
		return err
	}
	srv.pages = srv.newPages()
	srv.pages.AllowHosts(s.Watch.PageHosts, s.Watch.Pages)
	srv.front = watch.NewFront(srv.watcher, srv.pages.Mux, srv.log)
	srv.front.Show(live.Config{Command: "respool serve", Gateway: srv.shown(s.Listen), Observed: srv.gateway.Observed, Actions: &live.Actions{Pause: srv.gateway.Pause, Resume: srv.gateway.Resume}}, gatewayClients{srv.gateway})
	srv.servePages(l)
	if srv.arrival != nil {
		if err := srv.begin(srv.arrival); err != nil {
			return err
		}
	}
	useSocket, _, err := srv.front.Prepare(s.Watch.Socket)
	if err != nil {
		return err
	}
	useSocket()
	if err := srv.offer(); err != nil {
		return err
	}
	for _, l := range srv.listeners {
		srv.serveListener(l)
	}
	return nil
}

// takeovers returns the channel of processes that take over; nil while this one takes over itself, reloads or ends a takeover
// that has failed.
func (srv *Server) takeovers() <-chan *request {
	if srv.arrival != nil || srv.attempt != nil || srv.reclaim != nil {
		return nil
	}
	return srv.requests
}

// arrived returns a channel that is closed when the takeover by this process is done; nil: there is none.
func (srv *Server) arrived() <-chan struct{} {
	if srv.arrival == nil {
		return nil
	}
	return srv.arrival.done
}

// listenPages listens for the pages, or takes the listener over.
func (srv *Server) listenPages(addr string) (net.Listener, error) {
	if srv.arrival != nil && addr != "" && srv.arrival.pages[addr] != nil {
		l := srv.arrival.pages[addr]
		delete(srv.arrival.pages, addr)
		return l, nil
	}
	return page.Listen(addr, pagesFlag)
}

// openListeners opens all listeners, or none if one fails. It takes those that another process had from inherited.
func (srv *Server) openListeners(list []config.Address, inherited map[string]net.Listener) (map[string]*listener.Listener, error) {
	listeners := map[string]*listener.Listener{}
	for _, a := range list {
		inner := inherited[a.Name]
		delete(inherited, a.Name)
		l, err := listener.Adopt(a, inner, srv.log)
		if err != nil {
			for _, other := range listeners {
				_ = other.Close()
			}
			return nil, err
		}
		listeners[a.Name] = l
	}
	return listeners, nil
}

// serveListener has the gateway serve a listener until it is closed.
func (srv *Server) serveListener(l *listener.Listener) {
	cfg := l.Config()
	srv.log.Info("serving", "at", l.Addr().String(), "tls", cfg.Certs != nil)
	if risk := srv.settings.Risk(&cfg); risk != "" {
		srv.log.Warn(risk, "at", l.Addr().String())
	}
	srv.acceptors.Go(func() {
		err := srv.gateway.Serve(l)
		if !l.Broken() {
			return
		}
		select {
		case srv.failed <- fmt.Errorf("%s: the gateway stopped listening: %w", cfg.Origin, cmp.Or(err, net.ErrClosed)):
		default: // one failure is enough
		}
	})
}

// servePages moves the pages to another listener, or closes them if l is nil.
func (srv *Server) servePages(l net.Listener) {
	if srv.http != nil {
		_ = srv.http.Close()
		srv.http = nil
	}
	srv.pagesAt = l
	srv.front.PagesAt(l)
	if l != nil {
		srv.http = srv.pages.Serve(l)
		srv.page = relay.PagesURL(l.Addr())
		srv.log.Info("pages", "at", "http://"+l.Addr().String()+"/")
	}
}
