package serve

import (
	"cmp"
	"os"
	"strings"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/config"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/connect"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/embedded"
	"github.com/seed-2b0d76a6/respool/internal/gateway"
	respoolprom "github.com/seed-2b0d76a6/respool/metrics/prometheus"
)

// connect makes the client and the gateway. Neither opens a connection yet: a gateway may start
// before its server.
func (srv *Server) connect(s *config.Serve) error {
	if s.Embedded {
		e, err := embedded.Start()
		if err != nil {
			return err
		}
		srv.embedded = e
		if err := s.Watch.UseServer("redis://"+e.Addr(), "", ""); err != nil {
			return err
		}
	}
	nameConnections(s)
	allowLanes(s)
	opt := s.Watch.Sampler.Options // a copy: the watch has its own events
	srv.pool = respoolprom.NewPool("gateway", &opt)
	connect.LogEvents(&opt, srv.log)
	client, err := respool.New(opt)
	if err != nil {
		return err
	}
	srv.client, srv.options = client, opt
	if srv.arrival != nil {
		client.Engine().Restrict(srv.arrival.places)
		client.Engine().RestrictTotal(srv.arrival.total)
	}
	srv.pool.Watch(client.Stats)
	s.Gateway.Log = srv.log
	g, err := gateway.New(client.Engine(), s.Gateway)
	srv.gateway = g
	return err
}

// nameConnections sets the name of the connections, which the gateway and its watch share, if the URL sets none.
func nameConnections(s *config.Serve) {
	if name := &s.Watch.Sampler.Options.ClientName; *name == "" {
		*name = connectionName(s.Watch.Instance)
	}
}

// allowLanes allows a lane for each event loop, if the URL sets no number.
func allowLanes(s *config.Serve) {
	if s.Loops() > 1 {
		s.Watch.Sampler.Options.Lanes = s.Lanes()
	}
}

// warnFileLimit warns if the limit of open files is too low for all clients, which would then wait
// outside.
func (srv *Server) warnFileLimit() {
	most, known := fileLimit()
	clients := cmp.Or(srv.settings.Gateway.MaxClients, gateway.DefaultMaxClients)
	if want := clients + srv.client.Stats().MaxConnections + OtherFiles; known && most < uint64(want) {
		srv.log.Warn("the open file limit is too low for max_clients", "limit", most, "max_clients", clients, "want", want)
	}
}

// OtherFiles is the number of files reserved for listeners, pages, the watch, and Go itself.
const OtherFiles = 64

// connectionName is the name of the gateway's connections: service, instance and pool.
func connectionName(instance string) string {
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
