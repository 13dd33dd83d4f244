package main

import (
	"context"
	"fmt"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/ping"
)

type pingCmd struct {
	credentialsFlag

	URL   string `arg:"" help:"URL of the server. docs/options.md lists the keys."`
	Count int    `default:"5" help:"Number of round trips."`
	JSON  bool   `help:"Print one JSON object."`
}

func (pingCmd) Help() string {
	return `Examples:
  respool ping redis://localhost:6379
  respool ping 'rediss://:secret@cache.example:6380?ssl_ca_certs=ca.pem' --json`
}

func (p *pingCmd) Run(ctx context.Context) error {
	if p.Count < 1 {
		return fmt.Errorf("--count is %d: want 1 or more", p.Count)
	}
	opt, err := p.options(p.URL)
	if err != nil {
		return err
	}
	report, err := ping.Measure(ctx, opt, p.Count)
	if err != nil {
		return err
	}
	return show(report, p.JSON)
}
