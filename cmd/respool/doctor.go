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

	URL        string        `arg:"" help:"URL of the server, or of the service whose primary to examine. docs/options.md lists the keys."`
	For        time.Duration `default:"5s" help:"Time between the two reads."`
	Maxclients int64         `help:"The connection limit of the server, if the server does not report it."`
	Large      bool          `help:"Read CLIENT LIST above 5,000 connections too. It takes 10 ms of the server's time at 10,000 connections."`
	JSON       bool          `help:"Print one JSON object."`
}

func (doctorCmd) Help() string {
	return `Looks at the connections of a server twice, a few seconds apart, and reports problems with
evidence and remedy: occupancy, rejected connections, growth, storms of short connections,
abandoned idle connections, settings, and memory held for clients. It notes if the server does not
report changes of keys to the user of the URL, which blocking commands of respool need to wait
without a connection each.

It holds one connection. It needs the rights +ping +hello +info +client|list, and +config|get
for the settings. It skips checks that the server refuses, and reports them as not read. It counts
the clients that block on the server. Blocking commands that wait in a respool client or gateway are
not visible to the server: see the metric respool_pool_blocked.

Exit codes: 0 if nothing is found, 1 for warnings, 2 for critical findings.

Examples:
  respool doctor redis://localhost:6379
  respool doctor 'rediss://:secret@cache.example:6380?ssl_ca_certs=ca.pem' --for 30s
  respool doctor redis+sentinel://s1,s2,s3/mymaster --json`
}

func (d *doctorCmd) Run(ctx context.Context) error {
	switch {
	case d.For < minTime || d.For > time.Hour:
		return fmt.Errorf("--for is %v: want %v to 1h", d.For, minTime)
	case d.Maxclients < 0:
		return fmt.Errorf("--maxclients is %d: want 1 or more", d.Maxclients)
	}
	opt, err := d.options(d.URL)
	if err != nil {
		return err
	}
	report, err := doctor.Examine(ctx, opt, doctor.Config{For: d.For, MaxClients: d.Maxclients, Large: d.Large})
	if err != nil {
		return err
	}
	if err := show(report, d.JSON); err != nil {
		return err
	}
	switch worst, _ := monitor.Worst(report.Findings); worst {
	case monitor.Page:
		return exitCode(exitFailed)
	case monitor.Ticket, monitor.Warn:
		return exitCode(exitWarning)
	}
	return nil
}
