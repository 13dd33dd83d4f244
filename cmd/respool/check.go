package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/seed-2b0d76a6/respool/plan"
)

type checkCmd struct {
	File string `arg:"" help:"The plan: a YAML file, or - for standard input."`
	JSON bool   `help:"Print one JSON object."`
}

func (checkCmd) Help() string {
	return `Adds up the connections that all services of a server may open, by their ceilings, and
holds them against what the server takes: before a deployment, in CI. It asks no server.

  server:
    maxclients: 10000        # default: 10000
    reserve: 5%              # or a number; default: 5%
    others: 200              # connections of others; default: 0
  services:
    orders:
      pods: 40
      surge: 25%             # or a number of pods; default: 25%
      workers: 2             # processes in a pod; default: 1
      max_connections: 16    # of a pool
      pools: 1               # of a process, such as a second one of replicas; default: 1
    search:
      pods: 10
      client: jedis          # instead of max_connections: the client's own
      load: {rps: 900, burst: 2, mean: 1.2ms, p99: 8ms}   # of a pool: is the ceiling enough?

Further keys of a service: blocking, subscribers, cpus (go-redis opens 10 for each), and of a
load: parallel, wait, target. A service with a load alone gets what that needs.

Exits with 0 if all fits, 1 on warnings, 2 if it does not fit or the file is wrong.

Examples:
  respool check plan.yaml
  respool check plan.yaml --json
  helm template . | yq .data.respool | respool check -`
}

// checkReport is what check prints with --json.
type checkReport struct {
	Verdict   string         `json:"verdict"`
	Budget    int            `json:"budget"`
	Total     int            `json:"total"`
	Over      int            `json:"over"`
	Unbounded []string       `json:"unbounded,omitempty"`
	Services  []checkService `json:"services"`
	Problems  []checkProblem `json:"problems,omitempty"`
	Ways      []string       `json:"ways_out,omitempty"`
	failed    bool
}

type checkService struct {
	Name           string  `json:"name"`
	Processes      int     `json:"processes"`
	MaxConnections int     `json:"max_connections"` // -1: no ceiling
	From           string  `json:"from"`            // max_connections, the name of a client, load, nothing
	Pools          int     `json:"pools"`
	Held           int     `json:"held"`
	Total          int     `json:"total"`
	Share          float64 `json:"share_of_budget"`
	Needed         int     `json:"needed,omitempty"`
	Late           float64 `json:"late_share,omitempty"`
}

type checkProblem struct {
	Severity plan.Severity `json:"severity"`
	Service  string        `json:"service,omitempty"`
	Text     string        `json:"text"`
}

// Run reads, adds up and prints.
func (c *checkCmd) Run(context.Context) error {
	file, err := readPlan(c.File)
	if err != nil {
		return err
	}
	checked, err := plan.Check(file.budget, file.services)
	if err != nil {
		return fmt.Errorf("%s: %s", c.File, strings.TrimPrefix(err.Error(), "plan: "))
	}
	r := newCheckReport(checked, file.from)
	if c.JSON {
		if err := printJSON(r); err != nil {
			return err
		}
	} else {
		r.print()
	}
	switch {
	case r.failed:
		return exitCode(exitFailed)
	case len(r.Problems) > 0:
		return exitCode(exitWarning)
	}
	return nil
}

func newCheckReport(c plan.Checked, from []string) *checkReport {
	r := &checkReport{Budget: c.Budget, Total: c.Total, Over: c.Over, Unbounded: c.Unbounded, Ways: c.Ways, failed: !c.Fits()}
	for i, s := range c.Services {
		r.Services = append(r.Services, checkService{s.Name, s.Processes, s.MaxConnections, from[i], s.Pools, s.Held, s.Connections, s.Share, s.Needed, s.Late})
	}
	for _, p := range c.Problems {
		r.Problems = append(r.Problems, checkProblem(p))
	}
	switch {
	case c.Over > 0:
		r.Verdict = fmt.Sprintf("does not fit: %s connections, %s more than the %s there are", grouped(c.Total), grouped(c.Over), grouped(c.Budget))
	case len(c.Unbounded) > 0:
		r.Verdict = fmt.Sprintf("does not fit: no ceiling in %s; the others come to %s of %s connections", strings.Join(c.Unbounded, ", "), grouped(c.Total), grouped(c.Budget))
	default:
		r.Verdict = fmt.Sprintf("fits: %s of %s connections", grouped(c.Total), grouped(c.Budget))
	}
	return r
}

func (r *checkReport) print() {
	fmt.Printf("%s\n\n", r.Verdict)
	t := tabwriter.NewWriter(os.Stdout, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "service\tprocesses\tceiling\tfrom\tin all\tof the budget\tneeded by its load\t")
	for _, s := range r.Services {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t\n", s.Name, grouped(s.Processes), s.ceiling(), s.From, s.inAll(), percent(s.Share), s.needed())
	}
	_ = t.Flush()
	if len(r.Problems) > 0 {
		fmt.Println()
	}
	for _, p := range r.Problems {
		fmt.Printf("%s: %s\n", p.Severity, p.Text)
	}
	if len(r.Ways) > 0 {
		fmt.Println("\nways out:")
		for _, w := range r.Ways {
			fmt.Println("-", w)
		}
	}
	switch {
	case len(r.Ways) > 0:
		fmt.Printf("\nnext: take a way out, and check again; respool plan sizes one service\n")
	case len(r.Problems) > 0:
		fmt.Printf("\nnext: raise maxclients, or see what each service needs with respool plan\n")
	default:
		fmt.Printf("\nnext: respool who URL, whether the services keep to it\n")
	}
}

// ceiling is of a process, as 16, 2 x 16 or 16 + 3.
func (s checkService) ceiling() string {
	if s.MaxConnections == plan.Unbounded {
		return "none"
	}
	text := strconv.Itoa(s.MaxConnections)
	if s.Pools > 1 {
		text = fmt.Sprintf("%d x %s", s.Pools, text)
	}
	if s.Held > 0 {
		text = fmt.Sprintf("%s + %d", text, s.Held)
	}
	return text
}

func (s checkService) inAll() string {
	if s.MaxConnections == plan.Unbounded {
		return "any"
	}
	return grouped(s.Total)
}

func (s checkService) needed() string {
	if s.Needed == 0 {
		return "?"
	}
	return strconv.Itoa(s.Needed)
}

// grouped writes a number with its thousands apart, as 12,400.
func grouped(n int) string {
	text := strconv.Itoa(n)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
