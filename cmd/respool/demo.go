package main

import (
	"context"
	"fmt"
	"time"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/demo"
)

type demoCmd struct {
	credentialsFlag

	URL            string        `help:"Use this server or cluster instead of an embedded one. The demo writes keys with a unique prefix and removes them."`
	Callers        int           `default:"2000" help:"Concurrent callers."`
	Duration       time.Duration `default:"3s" help:"Duration of each side."`
	MaxConnections int           `default:"4" help:"The connection limit of respool, for each node of a cluster."`
	JSON           bool          `help:"Print one JSON object."`
}

func (demoCmd) Help() string {
	return `Callers GET and SET values of 64 bytes, four to one, and check each reply. They first work
without a limit, with one connection for each command in flight, as asynchronous clients do.
They then work through respool. The demo measures all the numbers that it prints.

Examples:
  respool demo
  respool demo --callers 5000 --max-connections 8
  respool demo --url redis+cluster://n1:6379,n2:6379
  respool demo --url redis://localhost:6379 --json`
}

func (d *demoCmd) Run(ctx context.Context) error {
	switch {
	case d.Callers < 1:
		return fmt.Errorf("--callers is %d: want 1 or more", d.Callers)
	case d.MaxConnections < 1:
		return fmt.Errorf("--max-connections is %d: want 1 or more", d.MaxConnections)
	case d.Duration < minTime || d.Duration > 10*time.Minute:
		return fmt.Errorf("--duration is %v: want %v to 10m", d.Duration, minTime)
	}
	cfg := demo.Config{Callers: d.Callers, Duration: d.Duration, MaxConnections: d.MaxConnections}
	if d.URL != "" {
		opt, err := d.options(d.URL)
		if err != nil {
			return err
		}
		cfg.Server = &opt
	}
	report, err := demo.Compare(ctx, cfg)
	if err != nil {
		return err
	}
	return show(report, d.JSON)
}
