package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"github.com/seed-2b0d76a6/respool"
)

type watchCmd struct {
	credentialsFlag

	URL     string `arg:"" optional:"" help:"The server, or the service with its sentinels, where there is no configuration."`
	Config  string `short:"c" type:"path" help:"The configuration, in YAML."`
	Profile string `help:"The profile of the configuration to use, such as production."`
	Listen  string `help:"Where the pages are served, instead of what the configuration says; off: nowhere. Default: 127.0.0.1:9736."`
	Check   bool   `help:"Read the configuration, say whether it is right, and end."`
	JSON    bool   `help:"Write the log as JSON."`
}

func (watchCmd) Help() string {
	return `Looks at a server, or at all nodes of a service, again and again: who holds the
connections, how full it is, when it will be full. Judges that by rules, and tells when one
fires and when it is over: the log, a webhook, Alertmanager, a command. Serves /metrics for
Prometheus, /healthz, /api/snapshot and /api/alerts.

It holds one connection to each node, and keeps it: so it goes on when the server is full.
A look costs the server 0.1 ms, every 5 s; one at the clients, every minute, 2 ms at 1,000 connections.
SIGHUP reads the configuration again; a bad one is refused, and the old one kept.
docs/operate.md has the configuration and the rules.

Examples:
  respool watch redis://localhost:6379
  respool watch -c respool.yaml --profile production
  respool watch -c respool.yaml --check`
}

func (w *watchCmd) Run(ctx context.Context) error {
	s, err := w.read()
	if err != nil {
		return err
	}
	if w.Check {
		fmt.Printf("%s is right: looks at %s every %v, by %s, tells %s\n", cmp.Or(w.Config, "this"), place(&s.sampler.Options), s.sampler.Every,
			numbered(len(s.rules), "rule"), numbered(len(s.sinks), "sink"))
		return nil
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	if w.JSON {
		log = slog.New(slog.NewJSONHandler(os.Stderr, nil))
	}
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	return (&daemon{cmd: w, log: log}).run(ctx, s, hup)
}

// read gives the settings that the command line and the configuration say.
func (w *watchCmd) read() (s settings, err error) {
	switch {
	case w.Config != "" && w.URL != "":
		return s, errors.New("a URL and a configuration: want one of them; the configuration has its own url")
	case w.Config == "" && w.URL == "":
		return s, errors.New("nothing to look at: want a URL, or a configuration with -c")
	case w.Config != "" && w.Credentials != "":
		return s, errors.New("--credentials and a configuration: want credentials in the configuration, beside url")
	case w.Config == "" && w.Profile != "":
		return s, errors.New("--profile without a configuration: want -c too")
	case w.Config != "":
		s, err = readConfig(w.Config, w.Profile)
	default:
		s = defaultSettings()
		s.sampler.Options, err = w.options(w.URL)
	}
	if err != nil {
		return s, err
	}
	switch {
	case w.Listen == "off":
		s.listen = ""
	case w.Listen != "":
		if err := checkListen(w.Listen); err != nil {
			return s, fmt.Errorf("--listen is %q: want host:port such as %s, or off", w.Listen, defaultListen)
		}
		s.listen = w.Listen
	}
	return s, nil
}

// place names what options lead to.
func place(o *respool.Options) string {
	if o.Sentinel != nil {
		return "service " + o.Service
	}
	return cmp.Or(o.Addr, "localhost:6379")
}

// daemon is a watcher with its pages, as the settings say.
type daemon struct {
	cmd     *watchCmd
	log     *slog.Logger
	watcher *watcher
	pages   *pages
	listen  string // what server listens at, as the settings have it
	server  *http.Server
}

func (d *daemon) run(ctx context.Context, s settings, hup <-chan os.Signal) (err error) {
	l, err := listenAt(s.listen)
	if err != nil {
		return err
	}
	if d.watcher, err = newWatcher(s, d.log, nil); err != nil {
		return err
	}
	defer d.watcher.close()
	d.pages = newPages(d.watcher)
	d.serve(s.listen, l)
	defer d.serve("", nil)
	d.log.Info("watching", "what", place(&s.sampler.Options), "every", s.sampler.Every, "rules", len(s.rules), "sinks", len(s.sinks))
	for {
		select {
		case <-ctx.Done():
			d.log.Info("stopping")
			return nil
		case <-hup:
			d.reload()
		}
	}
}

// serve moves the pages to another listener, or closes them if that is nil.
func (d *daemon) serve(addr string, l net.Listener) {
	if d.server != nil {
		_ = d.server.Close()
		d.server = nil
	}
	if d.listen = addr; l != nil {
		d.server = d.pages.serve(l)
		d.log.Info("pages", "at", "http://"+l.Addr().String()+"/")
	}
}

func listenAt(addr string) (net.Listener, error) {
	if addr == "" {
		return nil, nil
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("the pages: %w", err)
	}
	return l, nil
}

// reload reads the configuration again, and goes over to it if it is right.
func (d *daemon) reload() {
	if d.cmd.Config == "" {
		d.log.Warn("nothing to read again: there is no configuration")
		return
	}
	if err := d.change(); err != nil {
		d.log.Error("the configuration is refused, the old one kept", "error", err)
		return
	}
	d.log.Info("the configuration is in force", "file", d.cmd.Config)
}

func (d *daemon) change() error {
	s, err := d.cmd.read()
	if err != nil {
		return err
	}
	var l net.Listener
	if s.listen != d.listen {
		if l, err = listenAt(s.listen); err != nil {
			return err
		}
	}
	if err := d.watcher.apply(s); err != nil {
		if l != nil {
			_ = l.Close()
		}
		return err
	}
	if s.listen != d.listen {
		d.serve(s.listen, l)
	}
	return nil
}
