// Package sizing computes how many connections a service's pools need and reports
// whether its processes fit the server. The model is package plan. It starts no
// goroutines.
package sizing

import (
	"context"
	"errors"
	"fmt"
	"strconv"
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

// ServerLimits asks a server for its connection limit, and for the number of connections that count
// against it. It excludes its own connection.
func ServerLimits(ctx context.Context, opt respool.Options) (limit, used int, err error) {
	opt.MaxConnections, opt.Lanes, opt.MinIdle = 1, 1, 0
	c, err := respool.New(opt)
	if err != nil {
		return 0, 0, err
	}
	defer connect.Close(c)
	text, err := c.Do(ctx, "INFO").Text()
	if err != nil {
		return 0, 0, err
	}
	info := monitor.ParseInfo(text)
	if limit, err = strconv.Atoi(info.Text("maxclients")); err != nil {
		return 0, 0, errors.New("INFO of the server has no maxclients: want --maxclients")
	}
	for _, field := range []string{"connected_clients", "connected_slaves", "cluster_connections"} {
		n, _ := strconv.Atoi(info.Text(field))
		used += n
	}
	return limit, max(0, used-1), nil // except this one
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
	return r
}

func newClient(c plan.Client) Client {
	return Client{c.MaxConnections, c.MinIdle, output.Milliseconds(c.WaitTimeout), c.Processes, c.Total, c.Budget, c.Over}
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
	out, err := plan.Simulate(p.Load, scenario)
	if err != nil {
		return err
	}
	r.Simulated = &Simulated{out.Commands, out.Waiting, out.Late, output.Milliseconds(out.MeanWait), output.Milliseconds(out.MaxWait), out.Busy, out.Stalls}
	r.Deployed = newDeployed(out.Deploy, made.Pooled.Budget)
	r.addDeployment(p.Fleet.Blocking + p.Fleet.Subscribers)
	return nil
}
