package main

import (
	"context"
	"fmt"
	"time"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/demo"
)

type demoCmd struct {
	credentialsFlag

	URL            string        `help:"Run on this server instead of an embedded one. Its keys get a prefix of their own and are removed."`
	Callers        int           `default:"2000" help:"Callers at a time."`
	Duration       time.Duration `default:"3s" help:"How long each side works."`
	MaxConnections int           `default:"4" help:"respool's bound."`
	JSON           bool          `help:"Print one JSON object."`
}

func (demoCmd) Help() string {
	return `Callers GET and SET values of 64 bytes, four to one, and check each reply: once as
asynchronous clients do it without a limit (a connection for each command in
flight), once through respool. Every number is measured in the run.

Examples:
  respool demo
  respool demo --callers 5000 --max-connections 8
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
