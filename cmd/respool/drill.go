package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/drill"
)

type drillCmd struct {
	credentialsFlag

	URL         string        `arg:"" help:"URL of the service: redis+sentinel://s1:26379,s2:26379/name. docs/options.md lists the keys."`
	How         string        `enum:"command,none" default:"command" help:"Trigger of the failover. command: SENTINEL FAILOVER; none: you trigger it yourself."`
	Yes         bool          `help:"Trigger the failover without asking."`
	Readers     int           `default:"100" help:"Callers that GET."`
	Writers     int           `default:"60" help:"Callers that increment, and record each acknowledgement."`
	Blocked     int           `default:"10" help:"Callers in BLPOP."`
	Subscribers int           `default:"20" help:"Subscriptions to a channel."`
	Before      time.Duration `default:"2s" help:"Duration of the load before the failover."`
	After       time.Duration `default:"3s" help:"Duration of the load after the failover."`
	Limit       time.Duration `default:"60s" help:"Time limit of the failover."`
	JSON        bool          `help:"Print one JSON object."`
}

func (drillCmd) Help() string {
	return `Puts load on the service as an application does, orders a failover, and reports the effects
on each kind of caller, writes that were lost or executed twice, and the number of sockets that
each server counted. The drill writes keys with a unique prefix and removes them.

The report lists writes that asynchronous replication loses separately. Every client loses a
write that the old primary acknowledged and the new primary never received.

Examples:
  respool drill redis+sentinel://localhost:26379,localhost:26380/mymaster
  respool drill redis+sentinel://s1,s2,s3/mymaster --yes --json
  respool drill redis+sentinel://s1,s2,s3/mymaster --how none --limit 10m`
}

// check reads the flags.
func (d *drillCmd) check() (respool.Options, error) {
	opt, err := d.options(d.URL)
	switch {
	case err != nil:
		return opt, err
	case opt.Sentinel == nil:
		return opt, errors.New("this URL names one server, which cannot fail over: want redis+sentinel://host:port,host:port/service")
	case opt.Role != respool.RolePrimary:
		return opt, fmt.Errorf("role is %s: want primary, since a drill writes", opt.Role)
	}
	for flag, n := range map[string]int{"--readers": d.Readers, "--writers": d.Writers, "--blocked": d.Blocked, "--subscribers": d.Subscribers} {
		if n < 0 || n > 100_000 {
			return opt, fmt.Errorf("%s is %d: want 0 to 100000", flag, n)
		}
	}
	for flag, t := range map[string]time.Duration{"--before": d.Before, "--after": d.After, "--limit": d.Limit} {
		if t < minTime || t > 24*time.Hour {
			return opt, fmt.Errorf("%s is %v: want %v to 24h", flag, t, minTime)
		}
	}
	return opt, nil
}

func (d *drillCmd) Run(ctx context.Context) error {
	opt, err := d.check()
	if err != nil {
		return err
	}
	report, err := drill.Run(ctx, opt, drill.Config{
		Trigger: d.How == "command", Ask: d.How == "command" && !d.Yes,
		Readers: d.Readers, Writers: d.Writers, Blocked: d.Blocked, Subscribers: d.Subscribers,
		Before: d.Before, After: d.After, Limit: d.Limit,
	})
	if err != nil {
		return err
	}
	if err := show(report, d.JSON); err != nil {
		return err
	}
	if report.Failed() {
		return errors.New(report.Verdict)
	}
	return nil
}
