package main

import (
	"context"
	"fmt"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/clients"
	"github.com/seed-2b0d76a6/respool/monitor"
)

type whoCmd struct {
	credentialsFlag
	waitFlag

	URL string   `arg:"" help:"URL of the server, or of the service or the cluster whose nodes to read: docs/options.md lists the keys. Or the address of a running watch or serve, http://HOST:PORT."`
	By  []string `default:"service" help:"Fields to group by, separated by commas: service, name, lib, addr, user, cmd, db, id, age, process."`
	filterFlags
	Sort string `enum:"connections,memory,idle,age" default:"connections" help:"Order of the groups, the largest first: connections, memory (of the server), idle (the longest), age (the oldest)."`
	Top  int    `default:"20" help:"Number of groups to show; 0: all."`
	JSON bool   `help:"Print one JSON object."`
}

func (whoCmd) Help() string {
	return `Lists who holds the connections of a server, or of all nodes of a service or a cluster. It reads
CLIENT LIST once, over one connection to each, which takes about 2 ms of the server's time at 1,000
connections and 10 ms at 10,000. The columns @1, @2, ... split the groups by node.

The service of a connection is the first part of its name (service:instance:pool), otherwise its
library, otherwise its host, in brackets. A connection is active if it ran a command within the
last second, and idle if it ran none for a minute. It is blocked if it blocks on the server. Blocking
commands that wait in a respool client or gateway are not visible to the server: see the metric
respool_pool_blocked. Against a gateway, who lists the gateway's clients, with those that block.

--by id makes a group of each connection; add addr on a cluster, where each node has ids of its own.
--by process names the processes of clients on this machine, on Linux, as far as the user of this
command may see them. Others are (unknown).

A full server refuses new connections. Then use the connection of a running respool watch or respool
serve, with the address of its pages or its Unix socket as the URL, or wait for a free connection
with --wait.

Exit codes: 0 if all is fine, 1 if 70% of maxclients or more is in use, 2 on a failure or if a node
was not read.

Examples:
  respool who redis://localhost:6379
  respool who redis://localhost:6379 --by service,lib --idle 10m
  respool who redis://localhost:6379 --by addr,cmd --service cart
  respool who redis://localhost:6379 --by id,addr --sort memory --top 5
  respool who redis://localhost:6379 --by process
  respool who redis+cluster://n1:6379,n2:6379 --by service,lib
  respool who http://127.0.0.1:8637
  respool who redis+sentinel://s1,s2,s3/mymaster --by addr --top 5 --json`
}

func (w *whoCmd) Run(ctx context.Context) error {
	if w.Top < 0 {
		return fmt.Errorf("--top is %d: want 0 or more", w.Top)
	}
	if _, err := monitor.NewGroups(w.By...); err != nil {
		return fmt.Errorf("--by: %w", err)
	}
	t, err := target(w.URL, w.credentialsFlag, w.waitFlag)
	if err != nil {
		return err
	}
	report, err := clients.Holders(ctx, t, clients.HoldersConfig{By: w.By, Filter: clients.Filter(w.filterFlags), Top: w.Top, Sort: w.Sort})
	if err != nil {
		return err
	}
	if err := show(report, w.JSON); err != nil {
		return err
	}
	return exitOf(report.Incomplete(), report.Crowded())
}
