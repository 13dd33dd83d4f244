package serve

import (
	"errors"
	"fmt"
	"net"
	"reflect"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/config"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/connect"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/listener"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/page"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/systemd"
)

// reload reads the configuration again, and applies it if it is valid as a whole.
func (srv *Server) reload() {
	systemd.Notify(srv.log, systemd.Reloading())
	defer systemd.Notify(srv.log, systemd.Ready) // it is ready again, with the old configuration too
	if err := srv.applyConfig(); err != nil {
		srv.log.Error("the new configuration is invalid; the old one stays", "error", err)
		return
	}
	text := "the new configuration is active"
	if srv.urlKept {
		text += ", except for the URL"
	}
	srv.log.Info(text, "file", srv.flags.Config, "clients", srv.gateway.Stats().Clients)
}

// applyConfig first does the steps that may fail, and changes nothing if one of them fails.
func (srv *Server) applyConfig() error {
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
		l, err = page.Listen(s.Watch.Pages)
	}
	if err == nil {
		err = srv.apply(&s)
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

// keepServer keeps the server of the old settings: open connections and their limit belong to it.
func (srv *Server) keepServer(s *config.Serve) {
	old := &srv.settings.Watch
	srv.urlKept = s.Embedded != srv.settings.Embedded || !s.Embedded && (s.Watch.URL != old.URL || !reflect.DeepEqual(s.Watch.Source, old.Source))
	if srv.urlKept {
		srv.log.Warn("the URL and the source of its credentials cannot change while clients are served: restart to change them", "kept", connect.Place(&old.Sampler.Options))
	}
	s.Embedded, s.Watch.URL, s.Watch.Source = srv.settings.Embedded, old.URL, old.Source
	s.Watch.Sampler.Options, s.Watch.Sampler.Client = srv.settings.Watch.Sampler.Options, srv.settings.Watch.Sampler.Client
}

// apply changes both the gateway and the watch, or neither.
func (srv *Server) apply(s *config.Serve) error {
	s.Gateway.Log = srv.log
	if err := srv.gateway.Reload(s.Gateway); err != nil {
		return err
	}
	err := srv.watcher.Apply(s.Watch)
	if err == nil {
		return nil
	}
	if back := srv.gateway.Reload(srv.settings.Gateway); back != nil {
		err = errors.Join(err, fmt.Errorf("and restoring the old gateway settings failed: %w", back))
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
