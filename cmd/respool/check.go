package main

import (
	"context"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/check"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/sizing"
	"github.com/seed-2b0d76a6/respool/plan"
)

type checkCmd struct {
	credentialsFlag

	File string `arg:"" help:"The plan: a YAML file, or - for standard input."`
	From string `help:"URL of a server, a service or a cluster to read maxclients and the number of nodes from, instead of the plan."`
	JSON bool   `help:"Print one JSON object."`
}

func (checkCmd) Help() string {
	return `Adds up the connections that all services of a server may open, and compares the sum with
the limit of the server. Run it before a deployment, for example in CI. Without --from, it connects
to no server.

  server:
    maxclients: 10000        # default: 10000
    reserve: 5%              # or a number; default: 5%
    others: 200              # connections of other clients; default: 0
    nodes: 3                 # primaries of a cluster; default: 1. All numbers apply to each
  services:
    orders:
      pods: 40
      surge: 25%             # or a number of pods; default: 25%
      workers: 2             # processes in a pod; default: 1
      max_connections: 16    # of each pool, to each node
      max_connections_total: 24   # of each pool, to all nodes of a cluster; default: none
      pools: 1               # in a process, such as a second one for replicas; default: 1
    search:
      pods: 10
      client: jedis          # instead of max_connections: the default of this client
      load: {rps: 900, burst: 2, mean: 1.2ms, p99: 8ms}   # of each pool: checks that max_connections is enough

A service may also have the keys blocking, subscribers and cpus (go-redis opens 10 connections
for each CPU). A load may also have the keys parallel, wait and target. If a service has a load
and no limit, check uses the number of connections that the load needs.

Exit codes: 0 if everything fits, 1 if it does not or for warnings, 2 on a failure or if the file is
wrong.

Examples:
  respool check plan.yaml
  respool check plan.yaml --json
  respool check plan.yaml --from redis+cluster://n1:6379,n2:6379
  helm template . | yq .data.respool | respool check -`
}

func (c *checkCmd) Run(ctx context.Context) error {
	var change func(*plan.Budget)
	if c.From != "" {
		opt, err := c.options(c.From)
		if err != nil {
			return err
		}
		limits, err := sizing.ServerLimits(ctx, opt)
		if err != nil {
			return err
		}
		change = func(b *plan.Budget) { b.MaxClients, b.Nodes = limits.MaxClients, limits.Nodes }
	}
	report, err := check.File(c.File, change)
	if err != nil {
		return err
	}
	if err := show(report, c.JSON); err != nil {
		return err
	}
	return exitOf(false, report.Failed || len(report.Problems) > 0)
}
