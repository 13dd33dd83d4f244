package sizing

import (
	"fmt"
	"time"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/output"
	"github.com/seed-2b0d76a6/respool/plan"
)

// Deploy configures a simulated rolling deployment.
type Deploy struct {
	Deploy bool
	Start  time.Duration
	Drain  time.Duration
	Dial   time.Duration
	Warm   int
}

// Deployed is the outcome of a simulated deployment, as printed with --json.
type Deployed struct {
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

// scenario is the deployment of a planned fleet.
func (d Deploy) scenario(f plan.Fleet, made plan.Plan) (plan.Deploy, error) {
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

func newDeployed(d plan.Deployment, budget int) *Deployed {
	if d.Processes == 0 {
		return nil
	}
	return &Deployed{d.Length.Seconds(), d.Processes, d.Before, d.Peak, d.PeakAt.Seconds(), budget, d.Over, d.Commands, d.Waiting, d.Late}
}

// addDeployment adds to the report the connections over budget that only the deployment shows.
func (r *Report) addDeployment(held int) {
	d := r.Deployed
	if d == nil || d.Over == 0 {
		return
	}
	if r.Pooled.Over == 0 {
		r.Verdict = fmt.Sprintf("does not fit during a deployment: %d connections at a time, %d more than the budget of %d; otherwise %s", d.Peak, d.Over, max(0, d.Budget), r.Verdict)
	}
	way := fmt.Sprintf("draining pods do not count as surge, so %d processes run at a time instead of %d: start fewer at a time, or drain for a shorter time", d.Processes, r.Pooled.Processes)
	if n := d.Budget/d.Processes - held; n > 0 {
		way += fmt.Sprintf("; pools of %d fit", n)
	}
	r.Ways = append(r.Ways, way)
}

func (d *Deployed) print(lateMS float64) {
	fmt.Printf("\ndeployment of %.0f s: %d processes and %d connections at a time (after %.0f s), %d before it, ", d.Seconds, d.Processes, d.Peak, d.PeakAfter, d.Before)
	if d.Over > 0 {
		fmt.Printf("%d more than the budget\n", d.Over)
	} else {
		fmt.Printf("within the budget of %d\n", d.Budget)
	}
	fmt.Printf("during the deployment, %s of the commands wait for a connection or a dial, %s longer than %g ms\n", output.Percent(d.Waiting), output.Percent(d.Late), lateMS)
}
