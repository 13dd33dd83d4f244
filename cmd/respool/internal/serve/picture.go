package serve

import (
	"cmp"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/config"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/output"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/page/live"
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
			Queue: live.Latency(g.Queue), Server: live.Latency(g.Server), Waits: waitsOf(&c.Blocking), List: srv.gateway.ClientList}
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
