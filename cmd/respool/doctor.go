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

	URL        string        `arg:"" help:"The server, or the service whose primary is looked at: a URL with the keys of docs/options.md."`
	For        time.Duration `default:"5s" help:"How far apart the two looks are."`
	Maxclients int64         `help:"The server's limit, where it does not tell."`
	Large      bool          `help:"Ask for CLIENT LIST above 5,000 connections too: 10 ms of the server's time at 10,000."`
	JSON       bool          `help:"Print one JSON object."`
}

func (doctorCmd) Help() string {
	return `Looks at a server's connections twice, some seconds apart, and tells what is wrong, with
the evidence and what to do: occupancy, rejected connections, growth, storms of short connections,
idle ones that nobody gives back, settings, memory held for clients.

It holds one connection and needs few rights: +ping +hello +info +client|list, and
+config|get for the settings. What it may not ask it leaves out, and says so.

Exits with 0 if all is well, 1 on warnings, 2 on something critical.

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
