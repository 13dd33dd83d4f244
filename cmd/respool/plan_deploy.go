package main

import (
	"fmt"
	"time"

	"github.com/seed-2b0d76a6/respool/plan"
)

// planDeploy is how a rolling deployment goes.
type planDeploy struct {
	Deploy bool          `help:"Play a rolling deployment as well: old pods drain while new ones start cold. Simulates too."`
	Start  time.Duration `default:"10s" help:"In the deployment, from the start of a pod until it serves."`
	Drain  time.Duration `default:"30s" help:"From the last request of an old pod until it ends; it keeps its connections."`
	Dial   time.Duration `default:"1ms" help:"What opening a connection takes."`
	Warm   int           `default:"-1" help:"Connections that a process opens as it starts. Default: min_idle."`
}

// planDeployed is what the deployment came to, with --json.
type planDeployed struct {
	Seconds   float64 `json:"seconds"`
	Processes int     `json:"processes"`
	Before    int     `json:"connections_before"`
	Peak      int     `json:"peak_connections"`
	PeakAfter float64 `json:"peak_after_seconds"`
	Budget    int     `json:"budget"`
	Over      int     `json:"over"`
	Commands  int     `json:"commands"`
	Waiting   float64 `json:"waiting_share"`
	Late      float64 `json:"late_share"`
}

// scenario is the deployment of a fleet that was planned.
func (d planDeploy) scenario(f plan.Fleet, made plan.Plan) (plan.Deploy, error) {
	if !d.Deploy {
		return plan.Deploy{}, nil
	}
	if d.Warm > made.Size.Connections {
		return plan.Deploy{}, fmt.Errorf("--warm is %d: want %d at most, the connections of a process", d.Warm, made.Size.Connections)
	}
	warm := d.Warm
	if warm < 0 {
		warm = made.Size.MinIdle
	}
	return plan.Deploy{
		Pods: f.Pods, Surge: f.Surge, Workers: f.Workers, Start: d.Start, Drain: d.Drain, Dial: d.Dial,
		Warm: warm, Held: f.Blocking + f.Subscribers, Budget: max(1, made.Pooled.Budget),
	}, nil
}

func deployReport(d plan.Deployment, budget int) *planDeployed {
	if d.Processes == 0 {
		return nil
	}
	return &planDeployed{d.Length.Seconds(), d.Processes, d.Before, d.Peak, d.PeakAt.Seconds(), budget, d.Over, d.Commands, d.Waiting, d.Late}
}

// crowded adds to a report what a deployment shows that its ceilings did not.
func (r *planReport) crowded(held int) {
	d := r.Deployed
	if d == nil || d.Over == 0 {
		return
	}
	if r.Pooled.Over == 0 {
		r.Verdict = fmt.Sprintf("does not fit during a deployment: %d connections at a time, %d more than the %d there are; otherwise %s", d.Peak, d.Over, max(0, d.Budget), r.Verdict)
	}
	way := fmt.Sprintf("pods that drain do not count as surge, so %d processes run at a time instead of %d: let fewer start at a time, or drain for less", d.Processes, r.Pooled.Processes)
	if n := d.Budget/d.Processes - held; n > 0 {
		way += fmt.Sprintf("; pools of %d would fit", n)
	}
	r.Ways = append(r.Ways, way)
}

func (d *planDeployed) print(lateMS float64) {
	fmt.Printf("\ndeployment of %.0f s: %d processes and %d connections at a time (after %.0f s), %d before it, ", d.Seconds, d.Processes, d.Peak, d.PeakAfter, d.Before)
	if d.Over > 0 {
		fmt.Printf("%d more than the budget\n", d.Over)
	} else {
		fmt.Printf("within the budget of %d\n", d.Budget)
	}
	fmt.Printf("of the commands meanwhile %s wait for a connection or its opening, %s longer than %g ms\n", percent(d.Waiting), percent(d.Late), lateMS)
}
