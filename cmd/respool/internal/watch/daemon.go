package watch

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/config"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/connect"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/page"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/page/live"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/relay"
)

// Daemon is a watcher and its pages, as configured.
type Daemon struct {
	flags   Flags
	log     *slog.Logger
	out     io.Writer // for the address of the page
	watcher *Watcher
	pages   *page.Pages
	listen  string // the configured address of server
	server  *http.Server
	front   *Front
}

// pagesFlag is the flag that sets the address of the pages.
const pagesFlag = "--listen"

// NewDaemon returns a daemon that Run will start. It writes the address of the page to out.
func NewDaemon(flags Flags, log *slog.Logger, out io.Writer) *Daemon {
	return &Daemon{flags: flags, log: log, out: out}
}

// Run watches until ctx ends. Each value of hup reloads the configuration.
func (d *Daemon) Run(ctx context.Context, s config.Watch, hup <-chan os.Signal) (err error) {
	l, err := page.Listen(s.Pages, pagesFlag)
	if err != nil {
		return err
	}
	if d.watcher, err = Start(s, d.log, nil); err != nil {
		return err
	}
	defer d.watcher.Close()
	d.pages = page.New(d.watcher)
	d.pages.AllowHosts(s.PageHosts, s.Pages)
	d.front = NewFront(d.watcher, d.pages.Mux, d.log)
	d.front.Show(live.Config{Command: "respool watch"}, nil)
	d.pages.Mux.HandleFunc("GET /healthz", d.pages.Health)
	d.pages.Mux.HandleFunc("GET /readyz", d.pages.Sight)
	d.servePages(s.Pages, l)
	defer d.servePages("", nil)
	useSocket, _, err := d.front.Prepare(s.Socket)
	if err != nil {
		return err
	}
	useSocket()
	defer d.front.Close()
	d.log.Info("watching", "what", connect.Place(&s.Sampler.Options), "every", s.Sampler.Every, "rules", len(s.Rules), "sinks", len(s.Sinks))
	for {
		reloads, flushed := hup, d.watcher.flushed
		select {
		case <-flushed:
			flushed = nil
		default:
			reloads = nil // Apply would wait
		}
		select {
		case <-ctx.Done():
			d.log.Info("stopping")
			return nil
		case <-reloads:
			d.reload()
		case <-flushed:
		}
	}
}

// servePages moves the pages to another listener, or closes them if l is nil.
func (d *Daemon) servePages(addr string, l net.Listener) {
	if d.server != nil {
		_ = d.server.Close()
		d.server = nil
	}
	d.front.PagesAt(l)
	if d.listen = addr; l != nil {
		d.server = d.pages.Serve(l)
		fmt.Fprintf(d.out, "the page: %s/\n", relay.PagesURL(l.Addr()))
		d.log.Info("pages", "at", "http://"+l.Addr().String()+"/")
	}
}

// reload reads the configuration again, and applies it if it is valid.
func (d *Daemon) reload() {
	if d.flags.Config == "" {
		d.log.Warn("nothing to reload: there is no configuration")
		return
	}
	if err := d.applyConfig(); err != nil {
		d.log.Error("the new configuration is invalid; the old one stays", "error", err)
		return
	}
	d.log.Info("the new configuration is active", "file", d.flags.Config)
}

func (d *Daemon) applyConfig() error {
	s, err := d.flags.Read()
	if err != nil {
		return err
	}
	useSocket, dropSocket, err := d.front.Prepare(s.Socket)
	if err != nil {
		return err
	}
	var l net.Listener
	if s.Pages != d.listen {
		l, err = page.Listen(s.Pages, pagesFlag)
	}
	if err == nil {
		err = d.watcher.Apply(s)
	}
	if err != nil {
		dropSocket()
		if l != nil {
			_ = l.Close()
		}
		return err
	}
	useSocket()
	d.pages.AllowHosts(s.PageHosts, s.Pages)
	if s.Pages != d.listen {
		d.servePages(s.Pages, l)
	}
	return nil
}
