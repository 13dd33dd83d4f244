// Package sizing computes how many connections a service's pools need and reports
// whether its processes fit the server. The model is package plan. It starts no
// goroutines.
package sizing

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/connect"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/output"
	"github.com/seed-2b0d76a6/respool/monitor"
	"github.com/seed-2b0d76a6/respool/plan"
)

// Config is the load, the fleet and the simulation to plan for.
type Config struct {
	Load     plan.Load
	Fleet    plan.Fleet
	Simulate bool
	Scenario plan.Scenario // of the simulation; Make sets its connections, trace and deployment
	Trace    string        // a file of times for the simulation
	Deploy   Deploy
}

// Make sizes the pools of a service, and simulates them if configured.
func Make(p Config) (*Report, error) {
	made, err := plan.Make(p.Load, p.Fleet)
	if err != nil {
		return nil, err
	}
	r := p.report(made)
	if p.Simulate {
		if err := p.simulate(r, made); err != nil {
			return nil, err
		}
	}
	crowded := r.Deployed != nil && r.Deployed.Over > 0
	r.Fits, r.FitsInPart = made.Pooled.Fits() && !crowded, made.Pooled.Fits() || made.Respool.Fits()
	return r, nil
}

// Limits are the limits of the servers behind a URL.
type Limits struct {
	MaxClients int // the lowest of all
	Used       int // connections that count against it, without those of the tool; the most of all
	Nodes      int // primaries
}

// ServerLimits asks a server, or all servers of a service or a cluster, for their connection limits and connections. It
// fails if it does not reach one of them.
func ServerLimits(ctx context.Context, opt respool.Options) (l Limits, err error) {
	servers, err := connect.Open(ctx, connect.Target{Options: opt}, "plan", 0, false)
	if err != nil {
		return l, err
	}
	defer servers.Close()
	infos := make([]monitor.Info, len(servers.List))
	servers.Each(func(one *connect.Server) error {
		text, err := one.Probe.Client().Do(ctx, "INFO").Text()
		infos[slices.Index(servers.List, one)] = monitor.ParseInfo(text)
		return err
	})
	l.Nodes = 1
	if servers.Cluster != nil {
		l.Nodes = len(servers.Cluster.Primaries())
		if n, slots := servers.Cluster.Uncovered(); n > 0 {
			return l, fmt.Errorf("the cluster has no node for %d slots (%s), so the number of its primaries is unknown: want --nodes, --maxclients and --others", n, slots)
		}
	}
	for i, one := range servers.List {
		if one.Err != nil {
			if servers.Several() {
				return l, fmt.Errorf("a node was not read: %w", one.Err)
			}
			return l, one.Err
		}
		limit, ok := infos[i].MaxClients()
		if !ok {
			return l, fmt.Errorf("INFO of %s has no maxclients: want --maxclients", one.Addr)
		}
		used, _ := infos[i].Connections()
		if i == 0 || int(limit) < l.MaxClients {
			l.MaxClients = int(limit)
		}
		l.Used = max(l.Used, int(used)-1) // except this one
	}
	return l, nil
}

func (p *Config) report(made plan.Plan) *Report {
	wait := p.Load.Wait
	if wait == 0 {
		wait = max(p.Load.Mean, time.Millisecond)
	}
	r := &Report{
		Offered: made.Size.Offered, Waiting: made.Size.Waiting, Late: made.Size.Late, LateMS: output.Milliseconds(wait),
		Pooled: newClient(made.Pooled), Respool: newClient(made.Respool), Ways: made.Ways,
	}
	pooled := made.Pooled
	switch {
	case pooled.Fits():
		r.Verdict = fmt.Sprintf("fits: %d connections per process, %d of %d in total", pooled.MaxConnections, pooled.Total, pooled.Budget)
	case made.Respool.Fits():
		r.Verdict = fmt.Sprintf("does not fit: %d connections per process are %d in total, %d more than the budget of %d; with respool it fits (%d)",
			pooled.MaxConnections, pooled.Total, pooled.Over, max(0, pooled.Budget), made.Respool.Total)
	default:
		r.Verdict = fmt.Sprintf("does not fit: %d connections per process are %d in total, %d more than the budget of %d",
			pooled.MaxConnections, pooled.Total, pooled.Over, max(0, pooled.Budget))
	}
	if n := max(1, p.Fleet.Nodes); n > 1 {
		r.Nodes = n
		r.Verdict += fmt.Sprintf(", at each of %d nodes", n)
	}
	return r
}

func newClient(c plan.Client) Client {
	return Client{c.MaxConnections, c.MinIdle, output.Milliseconds(c.WaitTimeout), c.Processes, c.Total, c.Budget, c.Over, c.MaxTotal, c.AllNodes}
}

// simulate simulates the load, and the deployment if there is one, and adds both to the report.
func (p *Config) simulate(r *Report, made plan.Plan) error {
	trace, err := readTrace(p.Trace)
	if err != nil {
		return err
	}
	deploy, err := p.Deploy.scenario(p.Fleet, made)
	if err != nil {
		return err
	}
	scenario := p.Scenario
	scenario.Connections, scenario.Trace, scenario.Deploy = made.Size.Connections, trace, deploy
	out, err := plan.Simulate(p.Load.At(p.Fleet.Nodes), scenario)
	if err != nil {
		return err
	}
	r.Simulated = &Simulated{out.Commands, out.Waiting, out.Late, output.Milliseconds(out.MeanWait), output.Milliseconds(out.MaxWait), out.Busy, out.Stalls}
	r.Deployed = newDeployed(out.Deploy, made.Pooled.Budget)
	r.addDeployment(p.Fleet.Blocking + p.Fleet.Subscribers)
	return nil
}
