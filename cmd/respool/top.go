package main

import (
	"context"
	"fmt"
	"time"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/relay"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/top"
)

type topCmd struct {
	credentialsFlag

	URL        string        `arg:"" help:"URL of the server, or of the service or the cluster whose nodes to show. docs/options.md lists the keys."`
	Every      time.Duration `default:"2s" help:"Time between two reads of INFO."`
	ListEvery  time.Duration `default:"5s" help:"Time between two reads of CLIENT LIST, at least --every."`
	Large      bool          `help:"Read CLIENT LIST above 5,000 connections too. It takes 10 ms of the server's time at 10,000 connections."`
	Maxclients int64         `help:"The connection limit of the server, if the server does not report it."`
	For        time.Duration `help:"Exit after this time; 0: never."`
	JSON       bool          `help:"Print one JSON object for each reading, one per line."`
}

func (topCmd) Help() string {
	return `Shows the connections of a server live: occupancy and forecast, new and rejected connections and
commands per second, and the holders of the connections. It reads all nodes of a service or a
cluster and shows one; tab selects the next. It names slots without a node and missing replicas.

If one service without names holds over 80% of the connections, it names the process of the service
(on the same machine, on Linux), divides it by command, user, library and age, and states the setting
that names its connections.

It keeps one connection to each node, so it continues when the server is full. A read of INFO
takes 0.1 ms of the server's time, a read of CLIENT LIST 2 ms at 1,000 connections.

The column blocked counts the clients that block on the server. Blocking commands that wait in a
respool client or gateway are not visible to the server: see the metric respool_pool_blocked.

Keys: b groups by service, address, user, library or command; up, down, pgup, pgdown, home and end
select a row; enter shows its details, such as the addresses and commands of a service; k closes the
connections of the row after y; s, left and right select the sort column; r reverses the order; / filters
by a part of the name; esc closes the details or clears the filter; p or space pauses; tab selects the
next node; ? lists the keys; q quits.

The key k closes 50 connections per second on the shown node, over the connection that top holds, so it
works when the server is full. It checks each again before, as respool kill does, and needs the right
+client|kill. It never closes connections of replicas, of the primary, of sentinels, of MONITOR, or of
respool's own commands. With several nodes, its question names the node.

The column +/min is the change within the last minute. Memory is that of the server for the
connections; Redis 7.0 and later report it.

If standard output is not a terminal, it prints one line for each reading.

Exit codes, by the last lines: 0 if all is fine, 1 if 70% of maxclients or more is in use, connections
are rejected, or a cluster lacks nodes, 2 on a failure or if a node was not read. A screen exits with 0.

Examples:
  respool top redis://localhost:6379
  respool top redis+cluster://n1:6379,n2:6379
  respool top redis+sentinel://s1,s2,s3/mymaster --every 1s
  respool top redis://localhost:6379 --for 1m >> connections.log
  respool top redis://localhost:6379 --json | jq .connections`
}

// The bounds of the time between two looks.
const (
	minLook = minTime
	maxLook = time.Hour
)

// Validate checks the flags. kong calls it.
func (t *topCmd) Validate() error {
	switch {
	case t.Every < minLook || t.Every > maxLook:
		return fmt.Errorf("--every is %v: want %v to %v", t.Every, minLook, maxLook)
	case t.ListEvery < minLook || t.ListEvery > maxLook:
		return fmt.Errorf("--list-every is %v: want %v to %v", t.ListEvery, minLook, maxLook)
	case t.Maxclients < 0:
		return fmt.Errorf("--maxclients is %d: want 1 or more", t.Maxclients)
	case t.For < 0:
		return fmt.Errorf("--for is %v: want a time such as 10m", t.For)
	}
	return nil
}

func (t *topCmd) Run(ctx context.Context) error {
	if relay.IsURL(t.URL) {
		return fmt.Errorf("top keeps connections of its own, so it takes no %s: want the URL of the server; over the connection of that process: respool doctor %s, respool who %s", t.URL, t.URL, t.URL)
	}
	opt, err := t.options(t.URL)
	if err != nil {
		return err
	}
	outcome, err := top.Run(ctx, opt, top.Config{Every: t.Every, ListEvery: max(t.Every, t.ListEvery), MaxClients: t.Maxclients, Large: t.Large, For: t.For, JSON: t.JSON})
	if err != nil {
		return err
	}
	return exitOf(outcome.Incomplete, outcome.Findings)
}
