package main

import (
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	sd "github.com/coreos/go-systemd/v22/daemon"
)

// passedOnes are the sockets that systemd passed, by name and in its order.
type passedOnes struct{ byName map[string][]net.Listener }

// passedSockets takes over what systemd passed: LISTEN_FDS and its companions.
func passedSockets() (*passedOnes, error) {
	p := &passedOnes{byName: map[string][]net.Listener{}}
	for _, f := range activation.Files(true) {
		l, err := net.FileListener(f)
		name := f.Name()
		_ = f.Close() // the listener has a copy
		if err != nil {
			return nil, fmt.Errorf("systemd passed %.60q, at which nobody can listen: want stream sockets: %w", name, err)
		}
		if u, ok := l.(*net.UnixListener); ok {
			u.SetUnlinkOnClose(false) // its path is systemd's
		}
		p.byName[name] = append(p.byName[name], l)
	}
	return p, nil
}

// resolve puts what systemd passed in the place of its names. Where nothing is
// configured all of it is served, and the default if it passed nothing.
func (p *passedOnes) resolve(list []entrance) (all []entrance, err error) {
	switch {
	case len(list) > 0:
	case p == nil || len(p.byName) == 0:
		return []entrance{theDefault()}, nil
	default:
		for _, name := range p.names() {
			list = append(list, entrance{name: fromSystemd + name, where: fromSystemd + name, network: "systemd"})
		}
	}
	if p == nil {
		return list, nil
	}
	used := map[string]bool{}
	for _, e := range list {
		name, ok := strings.CutPrefix(e.name, fromSystemd)
		if !ok {
			all = append(all, e)
			continue
		}
		used[name] = true
		if len(p.byName[name]) == 0 {
			return nil, fmt.Errorf("%s: systemd passed no such socket: %s", e.where, oneOf(p.names(), "it passed none at all"))
		}
		for i, l := range p.byName[name] {
			one := e
			one.name, one.passed, one.addr, one.network = fmt.Sprintf("%s#%d", e.name, i), l, l.Addr().String(), l.Addr().Network()
			if one.network == "unix" {
				one.files = tlsFiles{} // TLS is of those by the same name that are TCP
			}
			all = append(all, one)
		}
	}
	for _, name := range p.names() {
		if !used[name] {
			return nil, fmt.Errorf("systemd passed the socket %.60q, and listen does not name it: want %s%s in it", name, fromSystemd, name)
		}
	}
	return all, nil
}

func (p *passedOnes) names() []string { return slices.Sorted(maps.Keys(p.byName)) }

// forget leaves out a socket that is closed: it can't be opened again.
func (p *passedOnes) forget(l net.Listener) {
	for name, list := range p.byName {
		if list = slices.DeleteFunc(list, func(other net.Listener) bool { return other == l }); len(list) == 0 {
			delete(p.byName, name)
		} else {
			p.byName[name] = list
		}
	}
}

// What systemd is told of.
const (
	isReady    = sd.SdNotifyReady
	isStopping = sd.SdNotifyStopping
	isAlive    = sd.SdNotifyWatchdog
)

// isReloading has the time in it, by which systemd tells this reload from an older one.
func isReloading() string { return sd.SdNotifyReloading + "\n" + sd.SdNotifyMonotonicUsec() }

// notifySystemd tells what the program does, where systemd wants to know.
func notifySystemd(log *slog.Logger, what string) {
	if _, err := sd.SdNotify(false, what); err != nil {
		log.Warn("systemd was not told", "what", strings.TrimSpace(what), "error", err)
	}
}

// watchdog gives the times at which systemd wants to hear that all is well; nil: it does not.
func watchdog(log *slog.Logger) (tick <-chan time.Time, stop func()) {
	within, err := sd.SdWatchdogEnabled(false)
	if err != nil {
		log.Warn("no watchdog", "error", err)
	}
	if within <= 0 {
		return nil, func() {}
	}
	t := time.NewTicker(max(within/2, leastTime))
	return t.C, t.Stop
}
