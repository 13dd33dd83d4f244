package sizing

import (
	"fmt"
	"os"
	"strconv"
	"text/tabwriter"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/output"
)

// Report is what plan prints with --json. Times are in milliseconds.
type Report struct {
	Verdict   string     `json:"verdict"`
	Nodes     int        `json:"nodes,omitempty"` // primaries of a cluster: the other numbers are for each of them
	Offered   float64    `json:"offered_connections"`
	Waiting   float64    `json:"waiting_share"`
	Late      float64    `json:"late_share"`
	LateMS    float64    `json:"late_after_ms"`
	Pooled    Client     `json:"pooled"`
	Respool   Client     `json:"respool"`
	Ways      []string   `json:"ways_out,omitempty"`
	Simulated *Simulated `json:"simulated,omitempty"`
	Deployed  *Deployed  `json:"deployment,omitempty"`

	Fits       bool `json:"fits"`         // the pools fit
	FitsInPart bool `json:"fits_in_part"` // the pools fit except during a deployment, or respool fits
}

// Client is the sizes of the pools of one kind of client.
type Client struct {
	MaxConnections int     `json:"max_connections"`
	MinIdle        int     `json:"min_idle"`
	WaitTimeoutMS  float64 `json:"wait_timeout_ms"`
	Processes      int     `json:"processes"`
	Total          int     `json:"total"`
	Budget         int     `json:"budget"`
	Over           int     `json:"over"`
	MaxTotal       int     `json:"max_connections_total"` // of a process to all nodes
	AllNodes       int     `json:"total_of_all_nodes"`
}

// Simulated is the outcome of a simulation.
type Simulated struct {
	Commands   int     `json:"commands"`
	Waiting    float64 `json:"waiting_share"`
	Late       float64 `json:"late_share"`
	MeanWaitMS float64 `json:"mean_wait_ms"`
	MaxWaitMS  float64 `json:"max_wait_ms"`
	Busy       float64 `json:"busy_connections"`
	Stalls     int     `json:"stalls"`
}

// Print writes the report for people.
func (r *Report) Print() error {
	fmt.Printf("%s\n\n", r.Verdict)
	fmt.Printf("%.2f connections are in use on average at the peak; %s of the commands wait, %s longer than %g ms\n\n",
		r.Offered, output.Percent(r.Waiting), output.Percent(r.Late), r.LateMS)
	t := tabwriter.NewWriter(os.Stdout, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "\tone connection per command\trespool\t")
	row := func(name string, value func(c Client) string) {
		fmt.Fprintf(t, "%s\t%s\t%s\t\n", name, value(r.Pooled), value(r.Respool))
	}
	number := func(field func(c Client) int) func(Client) string {
		return func(c Client) string { return strconv.Itoa(field(c)) }
	}
	row("max_connections", number(func(c Client) int { return c.MaxConnections }))
	if r.Nodes > 1 {
		row("max_connections_total", number(func(c Client) int { return c.MaxTotal }))
	}
	row("min_idle", number(func(c Client) int { return c.MinIdle }))
	row("wait timeout", func(c Client) string { return fmt.Sprintf("%g ms", c.WaitTimeoutMS) })
	row("processes at a time", number(func(c Client) int { return c.Processes }))
	row("total connections", number(func(c Client) int { return c.Total }))
	row("budget", number(func(c Client) int { return c.Budget }))
	row("too many", number(func(c Client) int { return c.Over }))
	if r.Nodes > 1 {
		row("total of all nodes", number(func(c Client) int { return c.AllNodes }))
	}
	_ = t.Flush()
	if s := r.Simulated; s != nil {
		fmt.Printf("\nsimulated %d commands: %s wait, %s longer than %g ms; %.2f connections in use, longest wait %.1f ms",
			s.Commands, output.Percent(s.Waiting), output.Percent(s.Late), r.LateMS, s.Busy, s.MaxWaitMS)
		if s.Stalls > 0 {
			fmt.Printf(", %d stalls", s.Stalls)
		}
		fmt.Println()
	}
	if r.Deployed != nil {
		r.Deployed.print(r.LateMS)
	}
	if len(r.Ways) > 0 {
		fmt.Println("\nremedies:")
		for _, w := range r.Ways {
			fmt.Println("-", w)
		}
	}
	if r.Nodes > 1 {
		fmt.Printf("\nthe numbers are for each of %d nodes, if the keys spread evenly; max_connections_total and the last row are for all\n", r.Nodes)
		fmt.Printf("\nnext: set max_connections=%d and max_connections_total=%d in the URL of respool; pools of other clients need %d at each node\n",
			r.Respool.MaxConnections, r.Respool.MaxTotal, r.Pooled.MaxConnections)
		return nil
	}
	fmt.Printf("\nnext: set max_connections=%d, min_idle=%d and timeout=%g in the pool's URL, or max_connections=%d with respool\n",
		r.Pooled.MaxConnections, r.Pooled.MinIdle, r.Pooled.WaitTimeoutMS/1000, r.Respool.MaxConnections)
	return nil
}
