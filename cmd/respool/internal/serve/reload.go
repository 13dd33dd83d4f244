package serve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/config"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/connect"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/listener"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/page"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/systemd"
)

// reload reads the configuration again, and applies it if it is valid as a whole.
func (srv *Server) reload(stop <-chan os.Signal, tick <-chan time.Time) {
	systemd.Notify(srv.log, systemd.Reloading())
	defer systemd.Notify(srv.log, systemd.Ready) // it is ready again, with the old configuration too
	if err := srv.applyConfig(stop, tick); err != nil {
		srv.log.Error("the new configuration is invalid; the old one stays", "error", err)
		return
	}
	srv.log.Info("the new configuration is active", "file", srv.flags.Config, "clients", srv.gateway.Stats().Clients)
}

// applyConfig first does the steps that may fail, and changes nothing if one of them fails.
func (srv *Server) applyConfig(stop <-chan os.Signal, tick <-chan time.Time) error {
	s, err := srv.flags.Read(srv.passed)
	if err != nil {
		return err
	}
	srv.keepServer(&s)
	var fresh []config.Address
	for _, a := range s.Listen {
		if srv.listeners[a.Name] == nil {
			fresh = append(fresh, a)
		}
	}
	opened, err := srv.openListeners(fresh)
	if err != nil {
		return err
	}
	useSocket, dropSocket, err := srv.front.Prepare(s.Watch.Socket)
	var l net.Listener
	if err == nil && s.Watch.Pages != srv.settings.Watch.Pages {
		l, err = page.Listen(s.Watch.Pages, pagesFlag)
	}
	if err == nil {
		err = srv.apply(&s, stop, tick)
	}
	if err != nil {
		if dropSocket != nil {
			dropSocket()
		}
		for _, l := range opened {
			_ = l.Close()
		}
		if l != nil {
			_ = l.Close()
		}
		return err
	}
	useSocket()
	if s.Watch.Pages != srv.settings.Watch.Pages {
		srv.servePages(l)
	}
	srv.settings = s
	srv.applyListeners(opened)
	return nil
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

// apply changes the connections to the server, the gateway and the watch, or none of them.
func (srv *Server) apply(s *config.Serve, stop <-chan os.Signal, tick <-chan time.Time) error {
	s.Gateway.Log = srv.log
	changes, err := srv.reconfigure(s.Watch.Sampler.Options, stop, tick)
	if err != nil {
		return fmt.Errorf("the new URL was tried: %s", strings.TrimPrefix(err.Error(), "respool: "))
	}
	options := s.Watch.Sampler.Options
	if !slices.ContainsFunc(changes, replacesConnections) {
		s.Watch.Sampler.Options = srv.settings.Watch.Sampler.Options // the watch goes on, with its history
	}
	if err := srv.gateway.Reload(s.Gateway); err != nil {
		return srv.restore(err)
	}
	if err := srv.watcher.Apply(s.Watch); err != nil {
		return srv.restore(err)
	}
	srv.options = options
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
	return nil
}

// reconfigure changes the connections to the server, after one attempt to connect, which a value of stop ends.
func (srv *Server) reconfigure(to respool.Options, stop <-chan os.Signal, tick <-chan time.Time) (changes []respool.Change, err error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan struct{})
	go func() { // the loop below waits for it
		defer close(done)
		changes, err = srv.client.Reconfigure(ctx, to)
	}()
	for {
		select {
		case <-done:
			return changes, err
		case <-stop:
			srv.stopped = true
			cancel()
		case <-tick:
			systemd.Notify(srv.log, systemd.Alive)
		}
	}
}

// replacesConnections reports whether a change replaces connections.
func replacesConnections(c respool.Change) bool {
	return c.Kept == "" && c.Option != "MaxConnections" && c.Option != "Lanes"
}

// restore applies the old settings again after err.
func (srv *Server) restore(err error) error {
	_, back := srv.client.Reconfigure(context.Background(), srv.options)
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
