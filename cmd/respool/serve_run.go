package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/gateway"
	"github.com/seed-2b0d76a6/respool/metrics"
)

// serving is a gateway that runs, with the watch beside it. All of it but what
// says otherwise belongs to the goroutine of run.
type serving struct {
	cmd    *serveCmd
	log    *slog.Logger
	out    io.Writer // of the few lines for people
	passed *passedOnes

	settings serveSettings
	embedded *embedded // nil: there is a URL
	pool     *metrics.Pool
	client   *respool.Client
	gateway  *gateway.Gateway
	drained  bool             // the gateway was shut down
	urlKept  bool             // the last reload found another URL, which is not used
	doors    map[string]*door // by the names of their entrances
	watcher  *watcher
	probe    *upstreamProbe
	pages    *pages
	http     *http.Server

	accepting atomic.Bool // read by the pages
	serving   sync.WaitGroup
	failed    chan error // why the gateway ended at a door that was not closed
}

// closeLimit bounds what is done once the clients are gone.
const closeLimit = 5 * time.Second

// run serves until stop says something, or a listener fails. A second word from stop cuts
// short what clients are given to finish.
func (d *serving) run(s serveSettings, hup, stop <-chan os.Signal) error {
	defer d.end()
	if err := d.start(s); err != nil {
		return err
	}
	d.accepting.Store(true)
	d.warnOfFiles()
	d.settings.banner(d.out, d.addresses())
	notifySystemd(d.log, isReady)
	tick, untick := watchdog(d.log)
	defer untick()
	for {
		select {
		case <-stop:
			d.drain(stop, tick)
			return nil
		case err := <-d.failed:
			d.drain(stop, tick)
			return err
		case <-hup:
			d.reload()
		case <-tick:
			notifySystemd(d.log, isAlive)
		}
	}
}

// start opens all that there is. Where it fails, end closes what it opened.
func (d *serving) start(s serveSettings) error {
	d.failed = make(chan error, 1)
	if err := d.connect(&s); err != nil {
		return err
	}
	d.settings = s
	var err error
	if d.doors, err = d.open(s.entrances); err != nil {
		return err
	}
	l, err := listenAt(s.watch.listen)
	if err != nil {
		return err
	}
	pools := poolViews("gateway", d.client.Stats)
	if d.watcher, err = newWatcher(s.watch, d.log, pools); err != nil {
		if l != nil {
			_ = l.Close()
		}
		return err
	}
	d.probe = startProbe(d.client, d.log)
	d.pages = d.newPages()
	d.showPages(l)
	for _, door := range d.doors {
		d.serve(door)
	}
	return nil
}

// connect makes the client and the gateway. Neither opens a connection yet: a
// gateway stands before its server does.
func (d *serving) connect(s *serveSettings) error {
	if s.embedded {
		e, err := startEmbedded()
		if err != nil {
			return err
		}
		d.embedded = e
		if err := s.watch.lookAt("redis://"+e.addr(), "", ""); err != nil {
			return err
		}
	}
	opt := s.watch.sampler.Options // a copy: the watch has its own connections and events
	if opt.ClientName == "" {
		opt.ClientName = ownName(s.watch.instance)
	}
	d.pool = metrics.NewPool("gateway", &opt)
	logTLSFiles(&opt, d.log)
	client, err := respool.New(opt)
	if err != nil {
		return err
	}
	d.client = client
	d.pool.Watch(client.Stats)
	s.gateway.Log = d.log
	g, err := gateway.New(client, s.gateway)
	d.gateway = g
	return err
}

// warnOfFiles tells before it happens that clients will wait outside for a file to become free.
func (d *serving) warnOfFiles() {
	most, known := mostFiles()
	clients := cmp.Or(d.settings.gateway.MaxClients, 10_000)
	if want := clients + d.client.Stats().MaxConnections + otherFiles; known && most < uint64(want) {
		d.log.Warn("the limit of open files is too low for max_clients", "limit", most, "max_clients", clients, "want", want)
	}
}

// otherFiles is room for listeners, pages, the watch, and what Go opens for itself.
const otherFiles = 64

// ownName is what the gateway's connections are called: its service, its instance, its pool.
func ownName(instance string) string {
	if instance == "" {
		instance, _ = os.Hostname() // without one the name is shorter
	}
	clean := strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' || r == ':' {
			return '-'
		}
		return r
	}, instance)
	return "gateway:" + clean + ":main"
}

// open opens doors, all or none.
func (d *serving) open(list []entrance) (map[string]*door, error) {
	doors := map[string]*door{}
	for _, e := range list {
		door, err := openDoor(e, d.log)
		if err != nil {
			for _, other := range doors {
				_ = other.Close()
			}
			return nil, err
		}
		doors[e.name] = door
	}
	return doors, nil
}

// serve lets clients in through a door, until that is closed.
func (d *serving) serve(door *door) {
	at := door.entrance.where
	d.log.Info("serving", "at", door.Addr().String(), "tls", door.entrance.certs != nil)
	if risk := d.settings.risk(&door.entrance); risk != "" {
		d.log.Warn(risk, "at", door.Addr().String())
	}
	d.serving.Go(func() {
		err := d.gateway.Serve(door)
		if !door.broken.Load() {
			return
		}
		select {
		case d.failed <- fmt.Errorf("%s: the gateway stopped to listen: %w", at, cmp.Or(err, net.ErrClosed)):
		default: // one is enough to end
		}
	})
}

// showPages serves the pages at another listener, or nowhere if that is nil.
func (d *serving) showPages(l net.Listener) {
	if d.http != nil {
		_ = d.http.Close()
		d.http = nil
	}
	if l != nil {
		d.http = d.pages.serve(l)
		d.log.Info("pages", "at", "http://"+l.Addr().String()+"/")
	}
}

// drain lets clients finish, as long as the settings say and stop keeps quiet.
func (d *serving) drain(stop <-chan os.Signal, tick <-chan time.Time) {
	d.accepting.Store(false)
	notifySystemd(d.log, isStopping)
	d.log.Info("stopping", "clients", d.gateway.Stats().Clients, "drain", d.settings.drain)
	ctx, cancel := context.WithTimeout(context.Background(), d.settings.drain)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- d.gateway.Shutdown(ctx) }() // waited for below
	for {
		select {
		case err := <-done:
			d.drained = true
			if err != nil {
				d.log.Warn("clients were cut", "error", err)
			}
			return
		case <-stop:
			d.log.Warn("stopping at once: told twice")
			cancel()
		case <-tick:
			notifySystemd(d.log, isAlive)
		}
	}
}

// end closes all that was opened, the pages last: they tell of the rest.
func (d *serving) end() {
	d.accepting.Store(false)
	ctx, cancel := context.WithTimeout(context.Background(), closeLimit)
	defer cancel()
	var errs []error
	for _, door := range d.doors {
		_ = door.Close()
	}
	if d.gateway != nil && !d.drained {
		errs = append(errs, d.gateway.Shutdown(ctx))
	}
	d.serving.Wait()
	if d.probe != nil {
		d.probe.close()
	}
	var watch sync.WaitGroup // where the server hangs, both take their time
	if d.watcher != nil {
		watch.Go(d.watcher.close)
	}
	if d.client != nil {
		errs = append(errs, d.client.Close(ctx))
	}
	watch.Wait()
	if d.embedded != nil {
		d.embedded.close()
	}
	if d.http != nil {
		_ = d.http.Close()
	}
	if err := errors.Join(errs...); err != nil {
		d.log.Warn("not all was closed in time", "error", err)
	}
	if d.probe != nil { // it had begun to serve
		d.log.Info("stopped")
	}
}
