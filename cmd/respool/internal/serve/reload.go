package serve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"reflect"
	"slices"
	"strings"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/config"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/connect"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/listener"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/page"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/systemd"
)

// attempt is one attempt to apply the configuration as it is now. Its goroutine does everything that may fail or take time. It
// reads fields of the server that the goroutine of Run changes only while there is no attempt, and it owns the fields below until
// done is closed. Then the goroutine of Run owns them, and either commits or drops what the attempt has opened.
type attempt struct {
	cancel context.CancelFunc
	done   chan struct{}

	settings config.Serve
	options  respool.Options
	opened   map[string]*listener.Listener
	pages    net.Listener // if movePages; nil: nowhere
	use      func()       // moves to the socket for other commands
	undo     []func()
	err      error // the configuration is invalid, and nothing has changed

	movePages bool
}

// reload starts an attempt. During an attempt, or at the end of a failed takeover, it only notes that another one follows.
func (srv *Server) reload() {
	if srv.attempt != nil || srv.reclaim != nil {
		srv.reloadAgain = true
		return
	}
	srv.reloadAgain = false
	systemd.Notify(srv.log, systemd.Reloading())
	ctx, cancel := context.WithCancel(context.Background())
	a := &attempt{cancel: cancel, done: make(chan struct{})}
	srv.attempt = a
	go func() { // finishReload or close waits for it
		defer close(a.done)
		a.err = srv.try(ctx, a)
	}()
}

// tried returns a channel that is closed when the attempt has ended; nil: there is none.
func (srv *Server) tried() <-chan struct{} {
	if srv.attempt == nil {
		return nil
	}
	return srv.attempt.done
}

// finishReload uses the configuration of the attempt that has ended, unless it is invalid.
func (srv *Server) finishReload() {
	a := srv.attempt
	a.cancel()
	srv.attempt = nil
	if a.err != nil {
		a.drop()
		srv.log.Error("the new configuration is invalid; the old one stays", "error", a.err)
	} else {
		srv.commit(a)
		srv.log.Info("the new configuration is active", "file", srv.flags.Config, "clients", srv.gateway.Stats().Clients)
	}
	systemd.Notify(srv.log, systemd.Ready) // it is ready again, with the old configuration too
	if srv.reloadAgain {
		srv.reload()
	}
}

// abandonReload ends the attempt, because the server stops. close waits for the end.
func (srv *Server) abandonReload() {
	if srv.attempt == nil {
		return
	}
	srv.log.Warn("stopping during a reload: the new configuration is not used")
	srv.attempt.cancel()
	systemd.Notify(srv.log, systemd.Ready) // systemd ends a reload before a stop
}

// awaitAttempt waits for an abandoned attempt, and drops what it has opened.
func (srv *Server) awaitAttempt() {
	if srv.attempt == nil {
		return
	}
	srv.attempt.cancel()
	<-srv.attempt.done
	srv.attempt.drop()
	srv.attempt = nil
}

// drop closes what the attempt has opened.
func (a *attempt) drop() {
	for _, f := range a.undo {
		f()
	}
}

// try reads the configuration, opens what it needs, and changes the connections to the server, the gateway and the watch. If one
// of the steps fails, nothing changes.
func (srv *Server) try(ctx context.Context, a *attempt) (err error) {
	if a.settings, err = srv.flags.Read(srv.passed); err != nil {
		return err
	}
	s := &a.settings
	srv.keepServer(s)
	var fresh []config.Address
	for _, at := range s.Listen {
		if srv.listeners[at.Name] == nil {
			fresh = append(fresh, at)
		}
	}
	if a.opened, err = srv.openListeners(fresh, nil); err != nil {
		return err
	}
	for _, l := range a.opened {
		a.undo = append(a.undo, func() { _ = l.Close() })
	}
	var drop func()
	if a.use, drop, err = srv.front.Prepare(s.Watch.Socket); err != nil {
		return err
	}
	a.undo = append(a.undo, drop)
	if a.movePages = s.Watch.Pages != srv.settings.Watch.Pages; a.movePages {
		if a.pages, err = page.Listen(s.Watch.Pages, pagesFlag); err != nil {
			return err
		}
		if a.pages != nil {
			a.undo = append(a.undo, func() { _ = a.pages.Close() })
		}
	}
	a.options, err = srv.apply(ctx, s)
	return err
}

// commit uses what an attempt has opened.
func (srv *Server) commit(a *attempt) {
	a.use()
	srv.pages.AllowHosts(a.settings.Watch.PageHosts, a.settings.Watch.Pages)
	if a.movePages {
		srv.servePages(a.pages)
	}
	srv.settings, srv.options = a.settings, a.options
	srv.applyListeners(a.opened)
}

// keepServer keeps what belongs to the running server: whether it is the embedded one, and the source of its credentials.
func (srv *Server) keepServer(s *config.Serve) {
	old := &srv.settings.Watch
	switch {
	case s.Embedded != srv.settings.Embedded:
		srv.log.Warn("not changed", "option", "url", "kept", connect.Place(&old.Sampler.Options),
			"reason", "the embedded server and a server with a URL cannot replace each other: restart to change this")
		fallthrough
	case s.Embedded:
		s.Embedded, s.Watch.URL, s.Watch.Source, s.Watch.Sampler.Options = srv.settings.Embedded, old.URL, old.Source, old.Sampler.Options
	case !reflect.DeepEqual(s.Watch.Source, old.Source) && !s.Watch.Source.IsZero() && !old.Source.IsZero():
		srv.log.Warn("not changed", "option", "credentials", "reason", "open connections ask the old source for new credentials: restart to change it")
		s.Watch.Source, s.Watch.Sampler.Options.Credentials = old.Source, old.Sampler.Options.Credentials
	}
	nameConnections(s)
	srv.keepLoops(s)
	if old := srv.settings.Takeover; s.Takeover != old {
		srv.log.Warn("not changed", "option", "takeover", "kept", old, "configured", s.Takeover, "reason", "it was opened at the start: restart to change it")
		s.Takeover = old
	}
	allowLanes(s)
	s.Watch.Sampler.Client = old.Sampler.Client
}

// keepLoops keeps the number of event loops: clients stay on their loops.
func (srv *Server) keepLoops(s *config.Serve) {
	if old := srv.settings.Gateway.Loops; s.Gateway.Loops != old {
		srv.log.Warn("not changed", "option", "loops", "kept", srv.settings.Loops(), "configured", s.Loops(), "reason", "clients stay on their loops: restart to change it")
		s.Gateway.Loops = old
	}
}

// apply changes the connections to the server, the gateway and the watch, or none of them. It returns the options of the
// connections.
func (srv *Server) apply(ctx context.Context, s *config.Serve) (options respool.Options, err error) {
	s.Gateway.Log = srv.log
	options = s.Watch.Sampler.Options
	changes, err := srv.client.Reconfigure(ctx, options)
	if err != nil {
		return options, fmt.Errorf("the new URL was tried: %s", strings.TrimPrefix(err.Error(), "respool: "))
	}
	if !slices.ContainsFunc(changes, replacesConnections) {
		s.Watch.Sampler.Options = srv.settings.Watch.Sampler.Options // the watch goes on, with its history
	}
	if err := srv.gateway.Reload(s.Gateway); err != nil {
		return options, srv.restore(ctx, err)
	}
	if err := srv.watcher.Apply(s.Watch); err != nil {
		return options, srv.restore(ctx, err)
	}
	for _, c := range changes {
		if c.Kept != "" {
			srv.log.Warn("not changed", "option", c.Option, "kept", c.From, "configured", c.To, "reason", c.Kept)
			continue
		}
		srv.log.Info("changed", "option", c.Option, "from", c.From, "to", c.To)
		if c.Option == "Addr" {
			srv.gateway.ServerChanged()
		}
	}
	return options, nil
}

// replacesConnections reports whether a change replaces connections.
func replacesConnections(c respool.Change) bool {
	return c.Kept == "" && c.Option != "MaxConnections" && c.Option != "Lanes"
}

// restore applies the old settings again after err.
func (srv *Server) restore(ctx context.Context, err error) error {
	_, back := srv.client.Reconfigure(ctx, srv.options)
	if back = errors.Join(back, srv.gateway.Reload(srv.settings.Gateway)); back != nil {
		err = errors.Join(err, fmt.Errorf("and restoring the old settings failed: %w", back))
	}
	return err
}

// applyListeners starts new listeners, closes the ones that are no longer configured, and updates
// the certificates and modes of the others.
func (srv *Server) applyListeners(opened map[string]*listener.Listener) {
	wanted := map[string]bool{}
	for _, a := range srv.settings.Listen {
		wanted[a.Name] = true
		if l := opened[a.Name]; l != nil {
			srv.listeners[a.Name] = l
			srv.serveListener(l)
			continue
		}
		l := srv.listeners[a.Name]
		l.Reconfigure(a)
		if a.Expired() {
			srv.log.Warn(srv.settings.Risk(&a), "at", l.Addr().String())
		}
	}
	for name, l := range srv.listeners {
		if wanted[name] {
			continue
		}
		_ = l.Close() // its clients stay connected
		if inherited := l.Config().Inherited; inherited != nil {
			srv.passed.Forget(inherited)
		}
		delete(srv.listeners, name)
		srv.log.Info("stopped listening", "at", name)
	}
}
