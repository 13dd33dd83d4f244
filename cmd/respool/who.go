package main

import (
	"context"
	"fmt"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/clients"
	"github.com/seed-2b0d76a6/respool/monitor"
)

type whoCmd struct {
	credentialsFlag

	URL string   `arg:"" help:"The server, or the service whose primary is asked: a URL with the keys of docs/options.md."`
	By  []string `default:"service" help:"What to group by: service, name, lib, addr, user, cmd, db; several with commas."`
	filterFlags
	Top  int  `default:"20" help:"How many groups to show; 0: all."`
	JSON bool `help:"Print one JSON object."`
}

func (whoCmd) Help() string {
	return `Tells who holds a server's connections, by one look at CLIENT LIST, on one connection.
That costs the server some 2 ms at 1,000 connections and 10 ms at 10,000.

A service is the first part of a connection's name (service:instance:pool), else its
library, else its host, in brackets. Active is what ran a command within a second, idle what ran none for
a minute.

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
