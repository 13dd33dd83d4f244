package main

import (
	"context"
	"fmt"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/clients"
)

type killCmd struct {
	credentialsFlag
	waitFlag

	URL string `arg:"" help:"URL of the server, or of the service or the cluster on whose nodes to close connections: docs/options.md lists the keys. Or the Unix socket of a running watch or serve, http+unix:///PATH."`
	filterFlags
	Yes  bool    `help:"Close the connections. Without this flag, kill only lists them."`
	Rate float64 `default:"50" help:"Connections to close per second."`
	Max  int     `default:"1000" help:"Maximum number of connections to close."`
	JSON bool    `help:"Print one JSON object."`
}

func (killCmd) Help() string {
	return `Lists the connections that match all filters, on all nodes of a service or a cluster. With --yes,
it closes them one after the other. --rate and --max apply to all nodes together.
It checks each connection again immediately before, and closes it by its id only if it still
matches. It never closes connections of replicas, of the primary, of sentinels, of MONITOR, or its own.

Clients may reconnect at once. First stop the leak, or limit the pool of the client.
It needs the right +client|kill in addition to those of respool who.

A full server refuses new connections. Then use the connection of a running respool watch or respool
serve that has a socket (--socket), or wait for a free connection with --wait. The HTTP pages have no
login, so they close nothing.

Exit codes: 0 on success, 2 on a failure or if a node was not read.

Examples:
  respool kill redis://localhost:6379 --service cart --idle 10m
  respool kill redis://localhost:6379 --service cart --idle 10m --yes --rate 20
  respool kill redis+cluster://n1:6379,n2:6379 --service cart --idle 10m --yes
  respool kill http+unix:///run/respool/watch.sock --service cart --idle 10m --yes
  respool kill redis://localhost:6379 --addr 10.0.0.7 --yes --json
  respool kill redis://localhost:6379 --id 4711 --yes`
}

// maxKillRate bounds --rate.
const maxKillRate = 10_000

func (k *killCmd) Run(ctx context.Context) error {
	filter := clients.Filter(k.filterFlags)
	switch {
	case !filter.IsSet():
		return clients.ErrNoFilter
	case !(k.Rate > 0 && k.Rate <= maxKillRate):
		return fmt.Errorf("--rate is %v: want connections a second, up to %d", k.Rate, maxKillRate)
	case k.Max < 1:
		return fmt.Errorf("--max is %d: want 1 or more", k.Max)
	}
	t, err := target(k.URL, k.credentialsFlag, k.waitFlag)
	if err != nil {
		return err
	}
	report, err := clients.Kill(ctx, t, clients.KillConfig{Filter: filter, Close: k.Yes, Rate: k.Rate, Max: k.Max})
	if report == nil {
		return err
	}
	if e := show(report, k.JSON); e != nil {
		return e
	}
	if err != nil {
		return err
	}
	return exitOf(report.Incomplete(), false)
}
