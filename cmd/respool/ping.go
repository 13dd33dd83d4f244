package main

import (
	"context"
	"fmt"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/ping"
)

type pingCmd struct {
	credentialsFlag
	waitFlag

	URL   string `arg:"" help:"URL of the server, or of the service or the cluster whose nodes to ping. docs/options.md lists the keys."`
	Count int    `default:"5" help:"Number of round trips."`
	JSON  bool   `help:"Print one JSON object."`
}

func (pingCmd) Help() string {
	return `Measures round trips, and reports the version, the role and the connections of a server, or of each
node of a service or a cluster.

Exit codes: 0 if all is fine, 1 if 70% of maxclients or more is in use, 2 on a failure or if a server
does not answer.

Examples:
  respool ping redis://localhost:6379
  respool ping 'rediss://:secret@cache.example:6380?ssl_ca_certs=ca.pem' --json
  respool ping redis+cluster://n1:6379,n2:6379`
}

func (p *pingCmd) Run(ctx context.Context) error {
	if p.Count < 1 {
		return fmt.Errorf("--count is %d: want 1 or more", p.Count)
	}
	t, err := p.target(p.options(p.URL))
	if err != nil {
		return err
	}
	report, err := ping.Measure(ctx, t, p.Count)
	if err != nil {
		return err
	}
	if err := show(report, p.JSON); err != nil {
		return err
	}
	return exitOf(report.Incomplete(), report.Crowded())
}
