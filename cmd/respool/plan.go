package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/sizing"
	"github.com/seed-2b0d76a6/respool/plan"
)

type planCmd struct {
	credentialsFlag

	RPS      float64       `name:"rps" required:"" help:"Average requests per second of one process."`
	Burst    float64       `default:"1" help:"Peak rate divided by the average rate."`
	Mean     time.Duration `required:"" help:"Average time that a command holds a connection."`
	P99      time.Duration `name:"p99" help:"99th percentile of the time that a command holds a connection. Default: 4.6 times the mean."`
	Parallel int           `default:"1" help:"Commands that a request sends concurrently."`
	Wait     time.Duration `help:"Longest wait for a connection before a command counts as late. Default: the mean, but at least 1ms."`
	Target   share         `default:"0.1%" help:"Share of commands that may be late."`

	Pods        int   `default:"1" help:"Pods of the service."`
	Surge       share `default:"25%" help:"Share of additional pods during a deployment."`
	Workers     int   `default:"1" help:"Processes in a pod."`
	Blocking    int   `default:"0" help:"Blocking consumers in a process, such as BLPOP."`
	Subscribers int   `default:"0" help:"Subscriptions in a process."`
	Maxclients  int   `default:"0" help:"Connection limit of the server. Default: ${plan_maxclients}, or the limit of the server in --from."`
	Others      int   `default:"-1" help:"Connections of other clients. Default: 0, or those of the server in --from."`
	Reserve     int   `default:"-1" help:"Connections to keep free. Default: 5% of the limit."`
	Nodes       int   `default:"0" help:"Primaries of a cluster, over which the keys spread evenly. The other limits apply to each. Default: 1, or those of the cluster in --from."`

	From       string        `help:"URL of a server, a service or a cluster to read the limit, the connections of other clients and the number of nodes from."`
	Simulate   bool          `help:"Simulate the load too."`
	Seed       uint64        `default:"1" help:"Random seed of the simulation."`
	Commands   int           `default:"2000000" help:"Number of commands to simulate."`
	Trace      string        `help:"File of durations for the simulation, one on each line, such as 1.2ms."`
	StallEvery time.Duration `help:"In the simulation, time between stalls of the server."`
	StallFor   time.Duration `help:"In the simulation, duration of each stall."`
	deployFlags
	JSON bool `help:"Print one JSON object."`
}

func (planCmd) Help() string {
	return `Computes how many connections each process of a service needs so that few commands wait for one,
and whether all processes together fit the limit of the server. Compares pools with one
connection for each command in flight (redis-py, go-redis, lettuce) with respool.
docs/sizing.md explains the model.

For a cluster (--nodes, or --from with its URL), the sizes are for each node: every process may
open max_connections to each. max_connections_total limits a process over all nodes.

Exit codes: 0 if the pools fit, also during a deployment, 1 if they do not, 2 on a failure.

Examples:
  respool plan --rps 900 --burst 2 --mean 1.2ms --p99 8ms --pods 40
  respool plan --rps 900 --mean 1.2ms --pods 40 --surge 25% --maxclients 10000 --others 3000 --simulate
  respool plan --rps 900 --burst 2 --mean 1.2ms --p99 8ms --pods 40 --maxclients 600 --deploy --drain 30s --dial 1ms
  respool plan --rps 900 --mean 1.2ms --pods 40 --from redis+cluster://n1:6379,n2:6379
  respool plan --rps 50 --mean 4ms --parallel 20 --from redis://localhost:6379 --json`
}

// share is a fraction, written as 0.25 or 25%.
type share float64

func (s *share) UnmarshalText(text []byte) error {
	digits, percent := strings.CutSuffix(string(text), "%")
	f, err := strconv.ParseFloat(digits, 64)
	if err != nil {
		return fmt.Errorf("%q is not a share: want one such as 0.25 or 25%%", text)
	}
	if percent {
		f /= 100
	}
	*s = share(f)
	return nil
}

// deployFlags describe a rolling deployment.
type deployFlags struct {
	Deploy bool          `help:"Simulate a rolling deployment: old pods drain while new pods start cold. Implies --simulate."`
	Start  time.Duration `default:"10s" help:"In the deployment, time from the start of a pod until it serves."`
	Drain  time.Duration `default:"30s" help:"In the deployment, time from the last request of an old pod until it ends. It keeps its connections."`
	Dial   time.Duration `default:"1ms" help:"In the deployment, time to open a connection."`
	Warm   int           `default:"-1" help:"In the deployment, connections that a process opens when it starts. Default: min_idle."`
}

func (p *planCmd) Run(ctx context.Context) error {
	fleet, err := p.fleet(ctx)
	if err != nil {
		return err
	}
	report, err := sizing.Make(sizing.Config{
		Load:     plan.Load{Rate: p.RPS, Burst: p.Burst, Parallel: p.Parallel, Mean: p.Mean, P99: p.P99, Wait: p.Wait, Target: float64(p.Target)},
		Fleet:    fleet,
		Simulate: p.Simulate || p.Deploy,
		Scenario: plan.Scenario{Commands: p.Commands, Seed: p.Seed, StallEvery: p.StallEvery, StallFor: p.StallFor},
		Trace:    p.Trace,
		Deploy:   sizing.Deploy(p.deployFlags),
	})
	if err != nil {
		return err
	}
	if err := show(report, p.JSON); err != nil {
		return err
	}
	return exitOf(false, !report.Fits)
}

// fleet is the processes of the service and the server that they share.
func (p *planCmd) fleet(ctx context.Context) (plan.Fleet, error) {
	f := plan.Fleet{Pods: p.Pods, Surge: float64(p.Surge), Workers: p.Workers, Blocking: p.Blocking, Subscribers: p.Subscribers, Nodes: p.Nodes,
		MaxClients: p.Maxclients, Others: max(0, p.Others), Reserve: p.Reserve}
	switch {
	case p.Nodes < 0:
		return f, fmt.Errorf("--nodes is %d: want 1 or more", p.Nodes)
	case p.Surge < 0:
		return f, fmt.Errorf("--surge is %v: want a share such as 25%%", float64(p.Surge))
	case p.Surge == 0:
		f.Surge = plan.None
	}
	switch {
	case p.Reserve < 0:
		f.Reserve = 0 // the default
	case p.Reserve == 0:
		f.Reserve = plan.None
	}
	if p.From == "" {
		return f, nil
	}
	opt, err := p.options(p.From)
	if err != nil {
		return f, err
	}
	limits, err := sizing.ServerLimits(ctx, opt)
	if err != nil {
		return f, err
	}
	if p.Maxclients == 0 {
		f.MaxClients = limits.MaxClients
	}
	if p.Others < 0 {
		f.Others = limits.Used
	}
	if p.Nodes == 0 {
		f.Nodes = limits.Nodes
	}
	return f, nil
}
