package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/drill"
	"github.com/seed-2b0d76a6/respool/monitor"
)

type drillCmd struct {
	credentialsFlag

	URL         string        `arg:"" help:"URL of the service or the cluster: redis+sentinel://s1:26379,s2:26379/name or redis+cluster://n1:6379,n2:6379. docs/options.md lists the keys."`
	How         string        `enum:"command,none" default:"command" help:"Trigger of the failover. command: SENTINEL FAILOVER, or CLUSTER FAILOVER on a replica of a cluster; none: you trigger it yourself, or with --reshard there is none."`
	Reshard     int           `default:"0" help:"Number of slots of a cluster to move from one primary to another and back, after the failover."`
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
	return `Puts load on the service or the cluster as an application does, orders a failover, and reports the
effects on each kind of caller, writes that were lost or executed twice, and the number of sockets
that each server counted. The drill writes keys with a unique prefix and removes them.

In a cluster, one shard fails over. With --reshard N, N slots move with all their keys from one
primary to another under load, and back. They return also after an interruption or a failure.
Moving slots needs the rights +cluster +migrate.

The report lists writes that asynchronous replication loses separately. Every client loses a
write that the old primary acknowledged and the new primary never received.

Exit codes: 0 if the drill passed, 1 if it failed, 2 if it could not run.

Examples:
  respool drill redis+sentinel://localhost:26379,localhost:26380/mymaster
  respool drill redis+sentinel://s1,s2,s3/mymaster --yes --json
  respool drill redis+sentinel://s1,s2,s3/mymaster --how none --limit 10m
  respool drill redis+cluster://n1:6379,n2:6379 --reshard 100
  respool drill redis+cluster://n1:6379,n2:6379 --how none --reshard 100 --yes`
}

// check reads the flags.
func (d *drillCmd) check() (respool.Options, error) {
	opt, err := d.options(d.URL)
	switch {
	case err != nil:
		return opt, err
	case opt.Sentinel == nil && opt.Cluster == nil:
		return opt, errors.New("this URL names one server, which cannot fail over: want redis+sentinel://host:port,host:port/service or redis+cluster://host:port,host:port")
	case d.Reshard != 0 && opt.Cluster == nil:
		return opt, errors.New("--reshard is for a cluster: want redis+cluster://host:port,host:port")
	case d.Reshard < 0 || d.Reshard > monitor.ClusterSlots:
		return opt, fmt.Errorf("--reshard is %d: want 1 to %d", d.Reshard, monitor.ClusterSlots)
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
		Trigger: d.How == "command", Ask: (d.How == "command" || d.Reshard > 0) && !d.Yes, Reshard: d.Reshard,
		Readers: d.Readers, Writers: d.Writers, Blocked: d.Blocked, Subscribers: d.Subscribers,
		Before: d.Before, After: d.After, Limit: d.Limit,
	})
	if err != nil {
		return err
	}
	if err := show(report, d.JSON); err != nil {
		return err
	}
	return exitOf(false, report.Failed())
}
