package connect

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/output"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/relay"
	"github.com/seed-2b0d76a6/respool/monitor"
)

// Servers are the servers behind a URL: one server, the nodes of a service, or those of a cluster.
type Servers struct {
	Name    string // of the service or the cluster; empty: one server
	Place   string // what the options lead to, in words
	List    []*Server
	Cluster *monitor.ClusterMap // nil: not a cluster
	Held    string              // the URL of the process whose connections are used; empty: this process has its own

	relay *relay.Client
}

// Server is one server, and the way to read it. Err is why it was not read; nil if it was.
type Server struct {
	Addr   string
	Source Source
	Probe  *monitor.Probe // nil if there is no connection of this process
	Err    error
}

// Open connects to all servers of a target, at the same time. It fails if it reaches none. Those that it does not
// reach have an Err. If large is set, CLIENT LIST is read for any number of connections. The caller closes the
// servers.
func Open(ctx context.Context, target Target, purpose string, maxclients int64, large bool) (*Servers, error) {
	if target.Held != nil {
		return openHeld(ctx, target.Held, maxclients, large)
	}
	opt := target.Options
	var found *monitor.Servers
	free := newFreeWait(target.Wait)
	if target.Wait > 0 {
		opt.BackoffBase, opt.BackoffCap = freeRetry, freeRetry
	}
	err := free.retry(ctx, func() (err error) {
		found, err = monitor.FindServers(ctx, opt)
		return err
	})
	if err != nil {
		return nil, err
	}
	s := &Servers{Name: found.Name, Place: Place(&opt), Cluster: found.Cluster}
	cfg := monitor.ProbeConfig{Purpose: purpose, MaxClients: maxclients, Split: purpose == "doctor"}
	if large {
		cfg.ListLimit = -1
	}
	if opt.Cluster != nil {
		cfg.Cluster, cfg.MapAddr = true, opt.Cluster.MapAddr
	}
	for _, one := range found.List {
		server := &Server{Addr: one.Addr, Err: one.Err}
		s.List = append(s.List, server)
		if one.Err != nil {
			continue
		}
		cfg.Options = one.Options
		if s.Several() {
			cfg.Options.LingerLimit = leaveLimit // a server that hangs would delay the report on the others
		}
		if server.Probe, server.Err = monitor.NewProbe(cfg); server.Err == nil {
			server.Source = ownConn{server.Probe}
		}
	}
	s.Each(func(one *Server) error {
		return free.retry(ctx, func() error { return one.Probe.Client().Warm(ctx) })
	})
	if err := ctx.Err(); err != nil {
		s.Close()
		return nil, err
	}
	return s.orNone()
}

// orNone returns the servers, or an error if none was reached.
func (s *Servers) orNone() (*Servers, error) {
	for _, one := range s.List {
		if one.Err == nil {
			return s, nil
		}
	}
	s.Close()
	if !s.Several() {
		return nil, s.List[0].Err
	}
	return nil, fmt.Errorf("none of the %d nodes of %s answers, the first because: %w", len(s.List), s.Place, s.List[0].Err)
}

// Several reports whether the options may lead to several servers.
func (s *Servers) Several() bool { return s.Name != "" }

// Each calls fn for each server that has no Err, at the same time, and stores its error. It returns when all calls
// have.
func (s *Servers) Each(fn func(*Server) error) {
	var all sync.WaitGroup
	for _, one := range s.List {
		if one.Err == nil {
			all.Go(func() { one.Err = fn(one) })
		}
	}
	all.Wait()
}

// Unread are the servers that were not read.
func (s *Servers) Unread() (list []*Server) {
	for _, one := range s.List {
		if one.Err != nil {
			list = append(list, one)
		}
	}
	return list
}

// Close closes all connections.
func (s *Servers) Close() {
	if s.relay != nil {
		s.relay.Close()
	}
	var all sync.WaitGroup
	for _, one := range s.List {
		if one.Probe != nil {
			limit := closeLimit
			if one.Err != nil {
				limit = leaveLimit // it may hang
			}
			all.Go(func() { closeWithin(one.Probe.Client(), limit) })
		}
	}
	all.Wait()
}

// UnreadText names servers that were not read, as the end of a verdict; empty if all were read.
func UnreadText(addrs []string) string {
	const named = 3
	switch n := len(addrs); {
	case n == 0:
		return ""
	case n > named:
		return fmt.Sprintf("; NOT READ: %d nodes: %s, ...", n, output.Printable(strings.Join(addrs[:named], ", ")))
	default:
		return "; NOT READ: " + output.Printable(strings.Join(addrs, ", "))
	}
}

// Reason says why a server was not read, in a few words; empty if it was.
func (s *Server) Reason() string {
	if s.Err == nil {
		return ""
	}
	if op, ok := errors.AsType[*net.OpError](s.Err); ok && op.Op == "dial" {
		return output.Cell(op.Err.Error())
	}
	text := strings.TrimSuffix(output.Error(s.Err), " (the command was not sent)")
	return strings.TrimPrefix(text, "dial "+s.Addr+": ")
}
