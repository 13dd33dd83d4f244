// Package serve runs the gateway as a program: its flags, listeners, reloads, pages
// and its orderly end. The gateway itself is internal/gateway. A Server owns one
// goroutine for each listener, the upstream probe and the watch; Run waits for
// all of them.
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
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/systemd"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/watch"
	"github.com/seed-2b0d76a6/respool/internal/gateway"
	"github.com/seed-2b0d76a6/respool/metrics"
)

// addresses are where it listens, by the names of the entrances.
func (srv *Server) addresses() map[string]string {
	m := map[string]string{}
	for name, l := range srv.listeners {
		m[name] = l.Addr().String()
	}
	return m
}

// Server is a gateway that runs, with the watch beside it. All of it but what
// says otherwise belongs to the goroutine of run.
type Server struct {
	flags  Flags
	log    *slog.Logger
	out    io.Writer // of the few lines for people
	passed *systemd.Sockets

	settings  config.Serve
	embedded  *embedded.Server // nil: there is a URL
	pool      *metrics.Pool
	client    *respool.Client
	gateway   *gateway.Gateway
	drained   bool                          // the gateway was shut down
	urlKept   bool                          // the last reload found another URL, which is not used
	listeners map[string]*listener.Listener // by the names of their entrances
	watcher   *watch.Watcher
	probe     *upstreamProbe
	pages     *page.Pages
	http      *http.Server

	accepting atomic.Bool // read by the pages
	acceptors sync.WaitGroup
	failed    chan error // why the gateway ended at a door that was not closed
}

func New(flags Flags, log *slog.Logger, out io.Writer, passed *systemd.Sockets) *Server {
	return &Server{flags: flags, log: log, out: out, passed: passed}
}

// Run serves until stop says something, or a listener fails. A second word from stop cuts
// short what clients are given to finish.
func (srv *Server) Run(s config.Serve, hup, stop <-chan os.Signal) error {
	defer srv.close()
	if err := srv.start(s); err != nil {
		return err
	}
	srv.accepting.Store(true)
	srv.warnFileLimit()
	srv.settings.Banner(srv.out, srv.addresses())
	systemd.Notify(srv.log, systemd.Ready)
	tick, untick := systemd.Watchdog(srv.log)
	defer untick()
	for {
		select {
		case <-stop:
			srv.drain(stop, tick)
			return nil
		case err := <-srv.failed:
			srv.drain(stop, tick)
			return err
		case <-hup:
			srv.reload()
		case <-tick:
			systemd.Notify(srv.log, systemd.Alive)
		}
	}
}

// start opens all that there is. Where it fails, end closes what it opened.
func (srv *Server) start(s config.Serve) error {
	srv.failed = make(chan error, 1)
	if err := srv.connect(&s); err != nil {
		return err
	}
	srv.settings = s
	var err error
	if srv.listeners, err = srv.openListeners(s.Listen); err != nil {
		return err
	}
	l, err := page.Listen(s.Watch.Pages)
	if err != nil {
		return err
	}
	pools := poolViews("gateway", srv.client.Stats)
	if srv.watcher, err = watch.Start(s.Watch, srv.log, pools); err != nil {
		if l != nil {
			_ = l.Close()
		}
		return err
	}
	srv.probe = startUpstreamProbe(srv.client, srv.log)
	srv.pages = srv.newPages()
	srv.servePages(l)
	for _, l := range srv.listeners {
		srv.serveListener(l)
	}
	return nil
}

// openListeners opens doors, all or none.
func (srv *Server) openListeners(list []config.Address) (map[string]*listener.Listener, error) {
	doors := map[string]*listener.Listener{}
	for _, a := range list {
		l, err := listener.Open(a, srv.log)
		if err != nil {
			for _, other := range doors {
				_ = other.Close()
			}
			return nil, err
		}
		doors[a.Name] = l
	}
	return doors, nil
}

// serveListener lets clients in through a door, until that is closed.
func (srv *Server) serveListener(l *listener.Listener) {
	at := l.Config.Origin
	srv.log.Info("serving", "at", l.Addr().String(), "tls", l.Config.Certs != nil)
	if risk := srv.settings.Risk(&l.Config); risk != "" {
		srv.log.Warn(risk, "at", l.Addr().String())
	}
	srv.acceptors.Go(func() {
		err := srv.gateway.Serve(l)
		if !l.Broken.Load() {
			return
		}
		select {
		case srv.failed <- fmt.Errorf("%s: the gateway stopped to listen: %w", at, cmp.Or(err, net.ErrClosed)):
		default: // one is enough to end
		}
	})
}

// servePages serves the pages at another listener, or nowhere if that is nil.
func (srv *Server) servePages(l net.Listener) {
	if srv.http != nil {
		_ = srv.http.Close()
		srv.http = nil
	}
	if l != nil {
		srv.http = srv.pages.Serve(l)
		srv.log.Info("pages", "at", "http://"+l.Addr().String()+"/")
	}
}
