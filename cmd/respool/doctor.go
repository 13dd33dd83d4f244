package main

import (
	"context"
	"fmt"
	"time"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/doctor"
	"github.com/seed-2b0d76a6/respool/monitor"
)

type doctorCmd struct {
	credentialsFlag
	waitFlag

	URL        string        `arg:"" help:"URL of the server, or of the service or the cluster whose nodes to examine: docs/options.md lists the keys. Or the address of a running watch or serve, http://HOST:PORT."`
	For        time.Duration `default:"5s" help:"Time between the two reads."`
	Maxclients int64         `help:"The connection limit of the server, if the server does not report it."`
	Large      bool          `help:"Read CLIENT LIST above 5,000 connections too. It takes 10 ms of the server's time at 10,000 connections."`
	JSON       bool          `help:"Print one JSON object."`
}

func (doctorCmd) Help() string {
	return `Looks at the connections of a server twice, a few seconds apart, and reports problems with
evidence and remedy: occupancy, rejected connections, growth, storms of short connections,
abandoned idle connections, settings, clients with large buffers, and commands that delay all
others, with their senders. It notes if the server does not report changes of keys to the user of
the URL, which blocking commands of respool need to wait without a connection each.

If clients without names hold over 80% of the connections, it names the process that opened most of
them, on Linux and on this machine, and otherwise what most of them have in common.

With the URL of a service or a cluster, it examines all nodes at the same time, primaries and
replicas. It names nodes that it does not reach, slots that no node serves, primaries without a
replica, and a primary with many more connections than the others.

It holds one connection to each server. It needs the rights +ping +hello +info +client|list, and
+config|get for the settings, +slowlog|get for the senders of slow commands, and +cluster|nodes
+cluster|info for a cluster. It skips checks that the server refuses, and reports them as not read. Without +info it cannot judge, and exits with
2. It counts the clients that block on the server. Blocking commands that wait in a respool client or
gateway are not visible to the server: see the metric respool_pool_blocked.

A full server refuses new connections. Then use the connection of a running respool watch or respool
serve, with the address of its pages or its Unix socket as the URL, or wait for a free connection
with --wait.

Exit codes: 0 if nothing is found except notes, 1 if something needs attention, 2 on a failure or if
a server could not be read or judged.

Examples:
  respool doctor redis://localhost:6379
  respool doctor 'rediss://:secret@cache.example:6380?ssl_ca_certs=ca.pem' --for 30s
  respool doctor redis+cluster://n1:6379,n2:6379
  respool doctor http://127.0.0.1:8637
  respool doctor redis+sentinel://s1,s2,s3/mymaster --json`
}

func (d *doctorCmd) Run(ctx context.Context) error {
	switch {
	case d.For < minTime || d.For > time.Hour:
		return fmt.Errorf("--for is %v: want %v to 1h", d.For, minTime)
	case d.Maxclients < 0:
		return fmt.Errorf("--maxclients is %d: want 1 or more", d.Maxclients)
	}
	t, err := target(d.URL, d.credentialsFlag, d.waitFlag)
	if err != nil {
		return err
	}
	report, err := doctor.Examine(ctx, t, doctor.Config{For: d.For, MaxClients: d.Maxclients, Large: d.Large})
	if err != nil {
		return err
	}
	report.URL = copyable(d.URL, d.Credentials != "")
	if err := show(report, d.JSON); err != nil {
		return err
	}
	worst, _ := monitor.Worst(report.Findings)
	return exitOf(report.Incomplete(), worst > monitor.Note)
}
