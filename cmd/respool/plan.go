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

	RPS      float64       `name:"rps" required:"" help:"Requests a second that one process serves, on average."`
	Burst    float64       `default:"1" help:"The peak over the average."`
	Mean     time.Duration `required:"" help:"How long a command holds a connection, on average."`
	P99      time.Duration `name:"p99" help:"Within which 99% of the commands are done. Default: 4.6 times the mean."`
	Parallel int           `default:"1" help:"Commands that a request sends at a time."`
	Wait     time.Duration `help:"A command that waits longer for a connection is late. Default: the mean, 1ms at least."`
	Target   share         `default:"0.1%" help:"The share of commands that may be late."`

	Pods        int   `default:"1" help:"Pods of the service."`
	Surge       share `default:"25%" help:"How many more run during a deployment."`
	Workers     int   `default:"1" help:"Processes in a pod."`
	Blocking    int   `default:"0" help:"Consumers in a process that block, as in BLPOP."`
	Subscribers int   `default:"0" help:"Subscriptions in a process."`
	Maxclients  int   `default:"0" help:"The server's limit. Default: ${plan_maxclients}, or what --from shows."`
	Others      int   `default:"-1" help:"Connections of others. Default: 0, or those that --from shows."`
	Reserve     int   `default:"-1" help:"Connections kept free. Default: 5% of the limit."`

	From       string        `help:"A server to take its limit and the connections of others from: a URL."`
	Simulate   bool          `help:"Play the load event by event as well."`
	Seed       uint64        `default:"1" help:"The simulation's randomness."`
	Commands   int           `default:"2000000" help:"How many commands to simulate."`
	Trace      string        `help:"A file with times, one a line such as 1.2ms, to draw from in the simulation."`
	StallEvery time.Duration `help:"In the simulation the server stands still so often."`
	StallFor   time.Duration `help:"And for so long each time."`
	deployFlags
	JSON bool `help:"Print one JSON object."`
}

func (planCmd) Help() string {
	return `Sizes the connection pools of a service: how many connections each process needs, so
that hardly any command waits for one, and whether all processes fit into what the
server takes. Side by side: pools with a connection for each command in flight (redis-py,
go-redis, lettuce), and respool. docs/sizing.md explains the model.

Exits with 0 if the pools fit, 1 if only respool does or a deployment does not, 2 if nothing fits.

Examples:
  respool plan --rps 900 --burst 2 --mean 1.2ms --p99 8ms --pods 40
  respool plan --rps 900 --mean 1.2ms --pods 40 --surge 25% --maxclients 10000 --others 3000 --simulate
  respool plan --rps 900 --burst 2 --mean 1.2ms --p99 8ms --pods 40 --maxclients 600 --deploy --drain 30s --dial 1ms
  respool plan --rps 50 --mean 4ms --parallel 20 --from redis://localhost:6379 --json`
}

// share is a fraction, written as 0.25 or 25%.
type share float64

func (s *share) UnmarshalText(text []byte) error {
	digits, percent := strings.CutSuffix(string(text), "%")
	f, err := strconv.ParseFloat(digits, 64)
	if err != nil {
		return fmt.Errorf("%q is no share: want one such as 0.25 or 25%%", text)
	}
	if percent {
		f /= 100
	}
	*s = share(f)
	return nil
}

// deployFlags say how a rolling deployment goes.
type deployFlags struct {
	Deploy bool          `help:"Play a rolling deployment as well: old pods drain while new ones start cold. Simulates too."`
	Start  time.Duration `default:"10s" help:"In the deployment, from the start of a pod until it serves."`
	Drain  time.Duration `default:"30s" help:"From the last request of an old pod until it ends; it keeps its connections."`
	Dial   time.Duration `default:"1ms" help:"What opening a connection takes."`
	Warm   int           `default:"-1" help:"Connections that a process opens as it starts. Default: min_idle."`
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
	switch {
	case report.Fits:
		return nil
	case report.FitsInPart:
		return exitCode(exitWarning)
	}
	return exitCode(exitFailed)
}

// fleet is the processes of the service and the server that they share.
func (p *planCmd) fleet(ctx context.Context) (plan.Fleet, error) {
	f := plan.Fleet{Pods: p.Pods, Surge: float64(p.Surge), Workers: p.Workers, Blocking: p.Blocking, Subscribers: p.Subscribers,
		MaxClients: p.Maxclients, Others: max(0, p.Others), Reserve: p.Reserve}
	switch {
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
	limit, used, err := sizing.ServerLimits(ctx, opt)
	if err != nil {
		return f, err
	}
	if p.Maxclients == 0 {
		f.MaxClients = limit
	}
	if p.Others < 0 {
		f.Others = used
	}
	return f, nil
}
