package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/plan"
)

// share is a part of a whole, as 0.25 or 25%.
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
	Maxclients  int   `default:"0" help:"The server's limit. Default: 10000, or what --from shows."`
	Others      int   `default:"-1" help:"Connections of others. Default: 0, or those that --from shows."`
	Reserve     int   `default:"-1" help:"Connections kept free. Default: 5% of the limit."`

	From       string        `help:"A server to take its limit and the connections of others from: a URL."`
	Simulate   bool          `help:"Play the load event by event as well."`
	Seed       uint64        `default:"1" help:"The simulation's randomness."`
	Commands   int           `default:"2000000" help:"How many commands to simulate."`
	Trace      string        `help:"A file with times, one a line such as 1.2ms, to draw from in the simulation."`
	StallEvery time.Duration `help:"In the simulation the server stands still so often."`
	StallFor   time.Duration `help:"And for so long each time."`
	planDeploy
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

// planReport is what plan prints with --json. Times are in milliseconds.
type planReport struct {
	Verdict   string         `json:"verdict"`
	Offered   float64        `json:"offered_connections"`
	Waiting   float64        `json:"waiting_share"`
	Late      float64        `json:"late_share"`
	LateMS    float64        `json:"late_after_ms"`
	Pooled    planClient     `json:"pooled"`
	Respool   planClient     `json:"respool"`
	Ways      []string       `json:"ways_out,omitempty"`
	Simulated *planSimulated `json:"simulated,omitempty"`
	Deployed  *planDeployed  `json:"deployment,omitempty"`
}

type planClient struct {
	MaxConnections int     `json:"max_connections"`
	MinIdle        int     `json:"min_idle"`
	WaitTimeoutMS  float64 `json:"wait_timeout_ms"`
	Processes      int     `json:"processes"`
	Total          int     `json:"total"`
	Budget         int     `json:"budget"`
	Over           int     `json:"over"`
}

type planSimulated struct {
	Commands   int     `json:"commands"`
	Waiting    float64 `json:"waiting_share"`
	Late       float64 `json:"late_share"`
	MeanWaitMS float64 `json:"mean_wait_ms"`
	MaxWaitMS  float64 `json:"max_wait_ms"`
	Busy       float64 `json:"busy_connections"`
	Stalls     int     `json:"stalls"`
}

func (p *planCmd) Run(ctx context.Context) error {
	load := plan.Load{Rate: p.RPS, Burst: p.Burst, Parallel: p.Parallel, Mean: p.Mean, P99: p.P99, Wait: p.Wait, Target: float64(p.Target)}
	fleet, err := p.fleet(ctx)
	if err != nil {
		return err
	}
	made, err := plan.Make(load, fleet)
	if err != nil {
		return err
	}
	r := p.report(made)
	if p.Simulate || p.Deploy {
		if err := p.simulate(r, load, fleet, made); err != nil {
			return err
		}
	}
	if p.JSON {
		if err := printJSON(r); err != nil {
			return err
		}
	} else {
		r.print()
	}
	switch {
	case made.Pooled.Fits() && r.Deployed != nil && r.Deployed.Over > 0:
		return exitCode(exitWarning)
	case made.Pooled.Fits():
		return nil
	case made.Respool.Fits():
		return exitCode(exitWarning)
	}
	return exitCode(exitFailed)
}

// fleet gathers what is known of the processes and of the server.
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
	if p.From != "" {
		limit, used, err := p.serverLimits(ctx, p.From)
		if err != nil {
			return f, err
		}
		if p.Maxclients == 0 {
			f.MaxClients = limit
		}
		if p.Others < 0 {
			f.Others = used
		}
	}
	return f, nil
}

// serverLimits asks a server for its limit and for what counts against it.
func (f *credentialsFlag) serverLimits(ctx context.Context, url string) (limit, used int, err error) {
	opt, err := f.options(url)
	if err != nil {
		return 0, 0, err
	}
	opt.MaxConnections, opt.Lanes, opt.MinIdle = 1, 1, 0
	c, err := respool.New(opt)
	if err != nil {
		return 0, 0, err
	}
	defer closeClient(c)
	text, err := c.Do(ctx, "INFO").Text()
	if err != nil {
		return 0, 0, err
	}
	info := infoFields(text)
	if limit, err = strconv.Atoi(info["maxclients"]); err != nil {
		return 0, 0, errors.New("the server's INFO has no maxclients: say --maxclients")
	}
	for _, field := range []string{"connected_clients", "connected_slaves", "cluster_connections"} {
		n, _ := strconv.Atoi(info[field])
		used += n
	}
	return limit, max(0, used-1), nil // without this one
}

func (p *planCmd) report(made plan.Plan) *planReport {
	wait := p.Wait
	if wait == 0 {
		wait = max(p.Mean, time.Millisecond)
	}
	r := &planReport{
		Offered: made.Size.Offered, Waiting: made.Size.Waiting, Late: made.Size.Late, LateMS: milliseconds(wait),
		Pooled: clientReport(made.Pooled), Respool: clientReport(made.Respool), Ways: made.Ways,
	}
	pooled := made.Pooled
	switch {
	case pooled.Fits():
		r.Verdict = fmt.Sprintf("fits: %d connections a process, %d in all of %d", pooled.MaxConnections, pooled.Total, pooled.Budget)
	case made.Respool.Fits():
		r.Verdict = fmt.Sprintf("does not fit: %d connections a process come to %d, %d more than the %d there are; with respool it fits (%d)",
			pooled.MaxConnections, pooled.Total, pooled.Over, max(0, pooled.Budget), made.Respool.Total)
	default:
		r.Verdict = fmt.Sprintf("does not fit: %d connections a process come to %d, %d more than the %d there are",
			pooled.MaxConnections, pooled.Total, pooled.Over, max(0, pooled.Budget))
	}
	return r
}

func clientReport(c plan.Client) planClient {
	return planClient{c.MaxConnections, c.MinIdle, milliseconds(c.WaitTimeout), c.Processes, c.Total, c.Budget, c.Over}
}

// simulate plays the load, and the deployment if there is one, for the report.
func (p *planCmd) simulate(r *planReport, load plan.Load, fleet plan.Fleet, made plan.Plan) error {
	trace, err := readTrace(p.Trace)
	if err != nil {
		return err
	}
	deploy, err := p.scenario(fleet, made)
	if err != nil {
		return err
	}
	out, err := plan.Simulate(load, plan.Scenario{Connections: made.Size.Connections, Commands: p.Commands, Seed: p.Seed, Trace: trace,
		StallEvery: p.StallEvery, StallFor: p.StallFor, Deploy: deploy})
	if err != nil {
		return err
	}
	r.Simulated = &planSimulated{out.Commands, out.Waiting, out.Late, milliseconds(out.MeanWait), milliseconds(out.MaxWait), out.Busy, out.Stalls}
	r.Deployed = deployReport(out.Deploy, made.Pooled.Budget)
	r.crowded(fleet.Blocking + fleet.Subscribers)
	return nil
}

// readTrace reads a time from each line.
func readTrace(name string) ([]time.Duration, error) {
	if name == "" {
		return nil, nil
	}
	file, err := openFile(name)
	if err != nil {
		return nil, fmt.Errorf("--trace: %w", err)
	}
	defer file.Close()
	var trace []time.Duration
	lines := bufio.NewScanner(file)
	for n := 1; lines.Scan(); n++ {
		text := strings.TrimSpace(lines.Text())
		if text == "" {
			continue
		}
		d, err := time.ParseDuration(text)
		if err != nil || d <= 0 {
			return nil, fmt.Errorf("--trace: line %d of %s is %.40q: want a time such as 1.2ms", n, name, text)
		}
		trace = append(trace, d)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("--trace: %w", err)
	}
	if len(trace) == 0 {
		return nil, fmt.Errorf("--trace: %s holds no times", name)
	}
	return trace, nil
}

func (r *planReport) print() {
	fmt.Printf("%s\n\n", r.Verdict)
	fmt.Printf("%.2f connections are held at the peak on average; of the commands %s wait, %s longer than %g ms\n\n",
		r.Offered, percent(r.Waiting), percent(r.Late), r.LateMS)
	t := tabwriter.NewWriter(os.Stdout, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "\ta connection for each\trespool\t")
	row := func(name string, value func(c planClient) string) {
		fmt.Fprintf(t, "%s\t%s\t%s\t\n", name, value(r.Pooled), value(r.Respool))
	}
	number := func(field func(c planClient) int) func(planClient) string {
		return func(c planClient) string { return strconv.Itoa(field(c)) }
	}
	row("max_connections", number(func(c planClient) int { return c.MaxConnections }))
	row("min_idle", number(func(c planClient) int { return c.MinIdle }))
	row("wait timeout", func(c planClient) string { return fmt.Sprintf("%g ms", c.WaitTimeoutMS) })
	row("processes at a time", number(func(c planClient) int { return c.Processes }))
	row("connections in all", number(func(c planClient) int { return c.Total }))
	row("budget", number(func(c planClient) int { return c.Budget }))
	row("too many", number(func(c planClient) int { return c.Over }))
	_ = t.Flush()
	if s := r.Simulated; s != nil {
		fmt.Printf("\nsimulated %d commands: %s wait, %s longer than %g ms; %.2f connections held, longest wait %.1f ms",
			s.Commands, percent(s.Waiting), percent(s.Late), r.LateMS, s.Busy, s.MaxWaitMS)
		if s.Stalls > 0 {
			fmt.Printf(", %d stalls", s.Stalls)
		}
		fmt.Println()
	}
	if r.Deployed != nil {
		r.Deployed.print(r.LateMS)
	}
	if len(r.Ways) > 0 {
		fmt.Println("\nways out:")
		for _, w := range r.Ways {
			fmt.Println("-", w)
		}
	}
	fmt.Printf("\nnext: set max_connections=%d, min_idle=%d and timeout=%g in the pool's URL, or max_connections=%d with respool\n",
		r.Pooled.MaxConnections, r.Pooled.MinIdle, r.Pooled.WaitTimeoutMS/1000, r.Respool.MaxConnections)
}

func percent(share float64) string { return fmt.Sprintf("%.3g%%", 100*share) }
