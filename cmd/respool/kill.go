package main

import (
	"context"
	"fmt"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/clients"
)

type killCmd struct {
	credentialsFlag

	URL string `arg:"" help:"The server, or the service whose primary is meant: a URL with the keys of docs/options.md."`
	filterFlags
	Yes  bool    `help:"Close them. Without it they are only shown."`
	Rate float64 `default:"50" help:"How many are closed a second."`
	Max  int     `default:"1000" help:"How many are closed at most."`
	JSON bool    `help:"Print one JSON object."`
}

func (killCmd) Help() string {
	return `Shows the connections that match all filters, and with --yes closes them, one after
the other: each is looked at once more right before, and closed by its id only if it still
matches. Connections of replicas, of the primary and of MONITOR are left alone, and its own.

A client that reconnects at once comes back: stop what leaks, or bound its pool, first.
It needs +client|kill beside what respool who needs.

Exits with 0 if all was done, 2 if something failed.

Examples:
  respool kill redis://localhost:6379 --service cart --idle 10m
  respool kill redis://localhost:6379 --service cart --idle 10m --yes --rate 20
  respool kill redis://localhost:6379 --addr 10.0.0.7 --yes --json`
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
	opt, err := k.options(k.URL)
	if err != nil {
		return err
	}
	report, err := clients.Kill(ctx, opt, clients.KillConfig{Filter: filter, Close: k.Yes, Rate: k.Rate, Max: k.Max})
	if report == nil {
		return err
	}
	if e := show(report, k.JSON); e != nil {
		return e
	}
	return err
}
