// Package check adds up the connections of a plan file and reports whether they
// fit the server. It asks no server, and it does not size pools: package sizing
// does. It starts no goroutines.
package check

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/output"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/planfile"
	"github.com/seed-2b0d76a6/respool/plan"
)

// Report is what check prints with --json.
type Report struct {
	Verdict   string    `json:"verdict"`
	Budget    int       `json:"budget"`
	Total     int       `json:"total"`
	Nodes     int       `json:"nodes"` // primaries of a cluster; budget, total and over are for each
	AllNodes  int       `json:"total_of_all_nodes"`
	Over      int       `json:"over"`
	Unbounded []string  `json:"unbounded,omitempty"`
	Services  []Service `json:"services"`
	Problems  []Problem `json:"problems,omitempty"`
	Ways      []string  `json:"ways_out,omitempty"`
	Failed    bool      `json:"failed"`
}

// Service is a service of the plan.
type Service struct {
	Name           string  `json:"name"`
	Processes      int     `json:"processes"`
	MaxConnections int     `json:"max_connections"`                 // -1: no limit
	From           string  `json:"from"`                            // the origin of the limit: max_connections, a client's name, load, or nothing
	MaxTotal       int     `json:"max_connections_total,omitempty"` // 0: no limit over all nodes
	Process        int     `json:"process_total"`                   // connections of one process to all nodes
	Pools          int     `json:"pools"`
	Held           int     `json:"held"`
	Total          int     `json:"total"`
	Share          float64 `json:"share_of_budget"`
	Needed         int     `json:"needed,omitempty"`
	Late           float64 `json:"late_share,omitempty"`
}

// Problem is a warning or an error about the plan.
type Problem struct {
	Severity plan.Severity `json:"severity"`
	Service  string        `json:"service,omitempty"`
	Text     string        `json:"text"`
}

// File adds up the plan in a file. change, if not nil, changes the budget.
func File(name string, change func(*plan.Budget)) (*Report, error) {
	file, err := planfile.Read(name)
	if err != nil {
		return nil, err
	}
	if change != nil {
		change(&file.Budget)
	}
	checked, err := plan.Check(file.Budget, file.Services)
	if err != nil {
		return nil, fmt.Errorf("%s: %s", name, strings.TrimPrefix(err.Error(), "plan: "))
	}
	return newReport(checked, file.Sources), nil
}

func newReport(c plan.Checked, from []string) *Report {
	r := &Report{Budget: c.Budget, Total: c.Total, Nodes: c.Nodes, AllNodes: c.AllNodes, Over: c.Over, Unbounded: c.Unbounded, Ways: c.Ways, Failed: !c.Fits()}
	for i, s := range c.Services {
		r.Services = append(r.Services, Service{s.Name, s.Processes, s.MaxConnections, from[i], s.MaxTotal, s.Process(), s.Pools, s.Held, s.Connections, s.Share, s.Needed, s.Late})
	}
	for _, p := range c.Problems {
		r.Problems = append(r.Problems, Problem(p))
	}
	switch {
	case c.Over > 0:
		r.Verdict = fmt.Sprintf("does not fit: %s connections, %s more than the budget of %s", output.Grouped(c.Total), output.Grouped(c.Over), output.Grouped(c.Budget))
	case len(c.Unbounded) > 0:
		r.Verdict = fmt.Sprintf("does not fit: no ceiling for %s; the other services use %s of %s connections", strings.Join(c.Unbounded, ", "), output.Grouped(c.Total), output.Grouped(c.Budget))
	default:
		r.Verdict = fmt.Sprintf("fits: %s of %s connections", output.Grouped(c.Total), output.Grouped(c.Budget))
	}
	if c.Nodes > 1 {
		r.Verdict += fmt.Sprintf(", at each of %d nodes", c.Nodes)
	}
	return r
}

// Print writes the report for people.
func (r *Report) Print() error {
	fmt.Printf("%s\n\n", r.Verdict)
	t := tabwriter.NewWriter(os.Stdout, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "service\tprocesses\tceiling\tsource\ttotal\tshare of budget\tneeded for load\t")
	for _, s := range r.Services {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t\n", s.Name, output.Grouped(s.Processes), s.ceilingText(), s.From, s.totalText(), output.Percent(s.Share), s.neededText())
	}
	_ = t.Flush()
	if r.Nodes > 1 {
		fmt.Println()
		r.printCluster()
	}
	if len(r.Problems) > 0 {
		fmt.Println()
	}
	for _, p := range r.Problems {
		fmt.Printf("%s: %s\n", p.Severity, p.Text)
	}
	if len(r.Ways) > 0 {
		fmt.Println("\nremedies:")
		for _, w := range r.Ways {
			fmt.Println("-", w)
		}
	}
	switch {
	case len(r.Ways) > 0:
		fmt.Printf("\nnext: apply a remedy, and check again; respool plan sizes one service\n")
	case len(r.Problems) > 0:
		fmt.Printf("\nnext: raise maxclients, or size each service with respool plan\n")
	default:
		fmt.Printf("\nnext: check that the services comply: respool who URL\n")
	}
	return nil
}

// printCluster explains the numbers of a cluster: ceilings and totals are for each node.
func (r *Report) printCluster() {
	fmt.Printf("ceiling and total are for each of the %d nodes (in brackets: max_connections_total)\n", r.Nodes)
	for _, s := range r.Services {
		if s.MaxConnections != plan.Unbounded {
			fmt.Printf("%s: %s connections of a process to all nodes, %s of all processes\n", s.Name, output.Grouped(s.Process), output.Grouped(s.Process*s.Processes))
		}
	}
	fmt.Printf("all nodes together: %s connections\n", output.Grouped(r.AllNodes))
}

// ceilingText is the limit of one process: 16, 2 x 16 or 16 + 3.
func (s Service) ceilingText() string {
	if s.MaxConnections == plan.Unbounded {
		return "none"
	}
	text := strconv.Itoa(s.MaxConnections)
	if s.MaxTotal > 0 {
		text += fmt.Sprintf(" (%d)", s.MaxTotal)
	}
	if s.Pools > 1 {
		text = fmt.Sprintf("%d x %s", s.Pools, text)
	}
	if s.Held > 0 {
		text = fmt.Sprintf("%s + %d", text, s.Held)
	}
	return text
}

func (s Service) totalText() string {
	if s.MaxConnections == plan.Unbounded {
		return "any"
	}
	return output.Grouped(s.Total)
}

func (s Service) neededText() string {
	if s.Needed == 0 {
		return "?"
	}
	return strconv.Itoa(s.Needed)
}
