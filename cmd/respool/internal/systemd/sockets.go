// Package systemd takes over sockets that systemd passes, and notifies systemd of
// the program's state. It does nothing if systemd did not start the program. It
// starts no goroutines.
package systemd

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"

	"github.com/coreos/go-systemd/v22/activation"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/config"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/yamlnode"
)

// Sockets are the sockets that systemd passed, by name and in order.
type Sockets struct{ byName map[string][]net.Listener }

// Inherit takes over the sockets of LISTEN_FDS.
func Inherit() (*Sockets, error) {
	p := &Sockets{byName: map[string][]net.Listener{}}
	for _, f := range activation.Files(true) {
		l, err := net.FileListener(f)
		name := f.Name()
		_ = f.Close() // the listener has a copy
		if err != nil {
			return nil, fmt.Errorf("systemd passed the socket %.60q, which cannot listen: want a stream socket: %w", name, err)
		}
		if u, ok := l.(*net.UnixListener); ok {
			u.SetUnlinkOnClose(false) // systemd owns the path
		}
		p.byName[name] = append(p.byName[name], l)
	}
	return p, nil
}

// Resolve replaces the names of systemd sockets by the sockets. If list is empty, it returns all
// sockets that systemd passed, or the default address if there are none.
func (p *Sockets) Resolve(list []config.Address) (all []config.Address, err error) {
	switch {
	case len(list) > 0:
	case p == nil || len(p.byName) == 0:
		return []config.Address{config.DefaultAddress()}, nil
	default:
		for _, name := range p.names() {
			list = append(list, config.Address{Name: config.SystemdPrefix + name, Origin: config.SystemdPrefix + name, Network: "systemd"})
		}
	}
	if p == nil {
		return list, nil
	}
	used := map[string]bool{}
	for _, a := range list {
		name, ok := strings.CutPrefix(a.Name, config.SystemdPrefix)
		if !ok {
			all = append(all, a)
			continue
		}
		used[name] = true
		if len(p.byName[name]) == 0 {
			return nil, fmt.Errorf("%s: systemd passed no socket of this name: %s", a.Origin, yamlnode.WantOneOf(p.names(), "it passed none"))
		}
		for i, l := range p.byName[name] {
			one := a
			one.Name, one.Inherited, one.Addr, one.Network = fmt.Sprintf("%s#%d", a.Name, i), l, l.Addr().String(), l.Addr().Network()
			if one.Network == "unix" {
				one.Files = config.TLSFiles{} // TLS is for the TCP sockets of the same name
			}
			all = append(all, one)
		}
	}
	for _, name := range p.names() {
		if !used[name] {
			return nil, fmt.Errorf("systemd passed the socket %.60q, but listen does not contain it: want %s%s", name, config.SystemdPrefix, name)
		}
	}
	return all, nil
}

// Empty reports whether there are no sockets.
func (p *Sockets) Empty() bool { return p == nil || len(p.byName) == 0 }

// Add adds a socket that another process got from systemd.
func (p *Sockets) Add(name string, l net.Listener) {
	if u, ok := l.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false) // systemd owns the path
	}
	if p.byName == nil {
		p.byName = map[string][]net.Listener{}
	}
	p.byName[name] = append(p.byName[name], l)
}

func (p *Sockets) names() []string { return slices.Sorted(maps.Keys(p.byName)) }

// Forget removes a closed socket, which cannot be opened again.
func (p *Sockets) Forget(l net.Listener) {
	for name, list := range p.byName {
		if list = slices.DeleteFunc(list, func(other net.Listener) bool { return other == l }); len(list) == 0 {
			delete(p.byName, name)
		} else {
			p.byName[name] = list
		}
	}
}
