package main

import (
	"context"
	"fmt"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/clients"
	"github.com/seed-2b0d76a6/respool/monitor"
)

type whoCmd struct {
	credentialsFlag

	URL string   `arg:"" help:"URL of the server, or of the service whose primary to read. docs/options.md lists the keys."`
	By  []string `default:"service" help:"Fields to group by, separated by commas: service, name, lib, addr, user, cmd, db."`
	filterFlags
	Top  int  `default:"20" help:"Number of groups to show; 0: all."`
	JSON bool `help:"Print one JSON object."`
}

func (whoCmd) Help() string {
	return `Lists who holds the connections of a server. It reads CLIENT LIST once, over one connection,
which takes about 2 ms of the server's time at 1,000 connections and 10 ms at 10,000.

The service of a connection is the first part of its name (service:instance:pool), otherwise its
library, otherwise its host, in brackets. A connection is active if it ran a command within the
last second, and idle if it ran none for a minute. It is blocked if it blocks on the server. Blocking
commands that wait in a respool client or gateway are not visible to the server: see the metric
respool_pool_blocked. Against a gateway, who lists the gateway's clients, with those that block.

Examples:
  respool who redis://localhost:6379
  respool who redis://localhost:6379 --by service,lib --idle 10m
  respool who redis://localhost:6379 --by addr,cmd --service cart
  respool who redis+sentinel://s1,s2,s3/mymaster --by addr --top 5 --json`
}

func (w *whoCmd) Run(ctx context.Context) error {
	if w.Top < 0 {
		return fmt.Errorf("--top is %d: want 0 or more", w.Top)
	}
	groups, err := monitor.NewGroups(w.By...)
	if err != nil {
		return fmt.Errorf("--by: %w", err)
	}
	opt, err := w.options(w.URL)
	if err != nil {
		return err
	}
	report, err := clients.Holders(ctx, opt, clients.HoldersConfig{By: w.By, Groups: groups, Filter: clients.Filter(w.filterFlags), Top: w.Top})
	if err != nil {
		return err
	}
	return show(report, w.JSON)
}
