package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"reflect"
)

// reload reads everything again, and goes over to it if all of it is right.
func (d *serving) reload() {
	notifySystemd(d.log, isReloading())
	defer notifySystemd(d.log, isReady) // it is ready again, with the old one too
	if err := d.change(); err != nil {
		d.log.Error("the configuration is refused, the old one kept", "error", err)
		return
	}
	text := "the configuration is in force"
	if d.urlKept {
		text += ", but for the URL"
	}
	d.log.Info(text, "file", d.cmd.Config, "clients", d.gateway.Stats().Clients)
}

// change does what may fail first, and nothing of it where any of it fails.
func (d *serving) change() error {
	s, err := d.cmd.read(d.passed)
	if err != nil {
		return err
	}
	d.keepServer(&s)
	var fresh []entrance
	for _, e := range s.entrances {
		if d.doors[e.name] == nil {
			fresh = append(fresh, e)
		}
	}
	opened, err := d.open(fresh)
	if err != nil {
		return err
	}
	var l net.Listener
	if s.watch.listen != d.settings.watch.listen {
		l, err = listenAt(s.watch.listen)
	}
	if err == nil {
		err = d.apply(&s)
	}
	if err != nil {
		for _, door := range opened {
			_ = door.Close()
		}
		if l != nil {
			_ = l.Close()
		}
		return err
	}
	if s.watch.listen != d.settings.watch.listen {
		d.showPages(l)
	}
	d.settings = s
	d.changeDoors(opened)
	return nil
}

// keepServer leaves the server as it is: connections and their bound are those of the URL.
func (d *serving) keepServer(s *serveSettings) {
	old := &d.settings.watch
	d.urlKept = s.embedded != d.settings.embedded || !s.embedded && (s.watch.url != old.url || !reflect.DeepEqual(s.watch.source, old.source))
	if d.urlKept {
		d.log.Warn("the URL is not changed while clients are served, nor where its credentials come from: restart for that", "kept", place(&old.sampler.Options))
	}
	s.embedded, s.watch.url, s.watch.source = d.settings.embedded, old.url, old.source
	s.watch.sampler.Options = d.settings.watch.sampler.Options
}

// apply changes the gateway and the watch, or neither.
func (d *serving) apply(s *serveSettings) error {
	s.gateway.Log = d.log
	if err := d.gateway.Reload(s.gateway); err != nil {
		return err
	}
	err := d.watcher.apply(s.watch)
	if err == nil {
		return nil
	}
	if back := d.gateway.Reload(d.settings.gateway); back != nil {
		err = errors.Join(err, fmt.Errorf("and the gateway does not go back: %w", back))
	}
	return err
}

// changeDoors opens new ones to clients, closes those that are not wanted any
// more, and gives the others their certificates and modes.
func (d *serving) changeDoors(opened map[string]*door) {
	wanted := map[string]bool{}
	for _, e := range d.settings.entrances {
		wanted[e.name] = true
		if door := opened[e.name]; door != nil {
			d.doors[e.name] = door
			d.serve(door)
			continue
		}
		door := d.doors[e.name]
		door.certs.Store(e.certs)
		if e.expired() {
			d.log.Warn(d.settings.risk(&e), "at", door.Addr().String())
		}
		if e.network == "unix" && e.passed == nil && e.mode != door.entrance.mode {
			if err := os.Chmod(e.addr, e.mode); err != nil {
				d.log.Warn("the socket keeps its mode", "error", err)
			}
		}
		door.entrance = e
	}
	for name, door := range d.doors {
		if wanted[name] {
			continue
		}
		_ = door.Close() // its clients stay
		if door.entrance.passed != nil {
			d.passed.forget(door.entrance.passed)
		}
		delete(d.doors, name)
		d.log.Info("not listening any more", "at", name)
	}
}
