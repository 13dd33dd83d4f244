package serve

import (
	"cmp"
	"context"
	"strings"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/config"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/output"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/page/live"
	"github.com/seed-2b0d76a6/respool/internal/gateway"
	"github.com/seed-2b0d76a6/respool/monitor"
)

// pagesFlag is the flag that sets the address of the pages.
const pagesFlag = "--http"

// shown returns a function that reports the gateway for the page. list are the listeners of the start; commands on the page name
// the first one over TCP.
func (srv *Server) shown(list []config.Address) func() live.GatewayStats {
	url := "URL-OF-THE-GATEWAY"
	for _, a := range list {
		if l := srv.listeners[a.Name]; l != nil && a.Network == "tcp" {
			url = "redis://" + l.Addr().String()
			if a.Files.Cert != "" {
				url = "rediss://" + l.Addr().String()
			}
			break
		}
	}
	return func() live.GatewayStats {
		g, c, ready := srv.gateway.Stats(), srv.client.Stats(), srv.readiness()
		s := live.GatewayStats{URL: url, Status: ready.Status, Error: ready.Error, Paused: srv.gateway.Pauses(),
			MaxClients: srv.gateway.MaxClients(), Clients: g.Clients, Blocked: g.Blocked, Subscribed: g.Subscribed, Pinned: g.Pinned, PinnedBy: g.PinnedBy,
			Accepted: g.Accepted, Refused: g.Refused, SlowClosed: g.SlowClosed, Commands: g.Commands, Buffered: g.Buffered,
			Queue: live.Latency(g.Queue), Server: live.Latency(g.Server), Waits: waitsOf(&c.Blocking), List: func() string { return srv.gateway.ClientList() }}
		nodes := c.Nodes
		if nodes == nil {
			nodes = []respool.Stats{c}
		}
		for i := range nodes {
			s.Pools = append(s.Pools, poolOf(&nodes[i]))
		}
		return s
	}
}

func poolOf(n *respool.Stats) live.Pool {
	p := live.Pool{Addr: output.Cell(cmp.Or(n.Addr, "no server is known")), Sockets: n.Sockets(), Limit: n.MaxConnections, Lanes: n.Lanes, Dedicated: n.Dedicated,
		Idle: n.Idle, Subscribed: n.Subscribed, Dialing: n.Dialing, Closing: n.Closing, Waiting: n.Waiting, RepliesDue: n.RepliesDue}
	if n.LastDialError != nil {
		p.DialError = output.Error(n.LastDialError)
	}
	return p
}

// gatewayClients are the clients of a gateway as the connections of a server.
type gatewayClients struct{ g *gateway.Gateway }

func (c gatewayClients) EachClient(_ context.Context, fn func(monitor.Client) error) error {
	return monitor.EachClient(strings.NewReader(c.g.ClientList()), fn)
}

// Own returns a name that no client has: names have no spaces.
func (gatewayClients) Own() string { return " " }

func (c gatewayClients) ListClient(_ context.Context, id int64) (string, error) {
	return c.g.ClientList(id), nil
}

func (c gatewayClients) KillClient(_ context.Context, id int64) (bool, error) {
	return c.g.KillClient(id), nil
}
