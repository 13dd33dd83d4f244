package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"time"

	"text/tabwriter"
)

// row is one client in one case.
type row struct {
	Case   string `json:"case"`
	Client string `json:"client"`
	measured
	Ratio float64 `json:"ratio_to_best_peer"`
}

// report is the outcome of a comparison.
type report struct {
	Redis   string   `json:"redis"`
	Go      string   `json:"go"`
	CPUs    int      `json:"cpus"`
	Rounds  int      `json:"rounds"`
	Seconds float64  `json:"seconds_a_round"`
	Rows    []row    `json:"rows"`
	Targets []target `json:"targets"`

	cases []benchCase
}

func makeReport(redis string, rounds int, d time.Duration, cases []benchCase, r results) *report {
	rep := &report{Redis: redis, Go: runtime.Version(), CPUs: runtime.NumCPU(), Rounds: rounds, Seconds: d.Seconds(),
		Targets: judgeAll(r), cases: cases}
	j := judge{results: r}
	for _, c := range cases {
		peer, _ := j.best(c.Name, ops, true)
		for _, name := range c.clients {
			if m, ok := r[c.Name][name]; ok {
				rep.Rows = append(rep.Rows, row{c.Name, name, m, ratio(m.Ops, peer)})
			}
		}
	}
	return rep
}

func ratio(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}

// readReport reads a file of writeFile.
func readReport(path string) (*report, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	r := &report{}
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("%s: %w: want the bench.json of an earlier run", path, err)
	}
	for _, c := range allCases() {
		if len(r.inCase(c.Name)) > 0 {
			r.cases = append(r.cases, c)
		}
	}
	return r, nil
}

func (r *report) writeLines(w io.Writer) error {
	enc := json.NewEncoder(w)
	for _, row := range r.Rows {
		if err := enc.Encode(row); err != nil {
			return err
		}
	}
	return nil
}

func (r *report) writeFile(path string) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(b, '\n'), 0o644)
}

// writeTable prints the cases one after the other, then the targets.
func (r *report) writeTable(w io.Writer) {
	fmt.Fprintf(w, "redis-server %s, %s, %d cores shared by server and clients; medians of %d rounds of %gs, each client in turn.\n",
		r.Redis, r.Go, r.CPUs, r.Rounds, r.Seconds)
	for _, c := range r.cases {
		fmt.Fprintf(w, "\n%s: %s\n", c.Name, c.About)
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
		if c.Load == memory {
			fmt.Fprintln(t, "client\theap for each caller\tidle client\t")
		} else {
			fmt.Fprintln(t, "client\tops/s\tof the best peer\tp50 us\tp99 us\tp99.9 us\tlongest ms\tcpu us/op\tserver us/op\tallocs/op\tsockets\t")
		}
		for _, row := range r.Rows {
			switch {
			case row.Case != c.Name:
			case c.Load == memory:
				fmt.Fprintf(t, "%s\t%.0f B\t%.0f KiB\t\n", row.Client, row.CallerHeap, row.IdleBytes/kib)
			default:
				fmt.Fprintf(t, "%s\t%.0f\t%.2f\t%.0f\t%.0f\t%.0f\t%.1f\t%.2f\t%.2f\t%.1f\t%.0f\t\n", row.Client, row.Ops, row.Ratio,
					row.P50, row.P99, row.P999, row.Max/1000, row.CPU, row.ServerCPU, row.Allocs, row.Sockets)
			}
		}
		t.Flush()
	}
	if len(r.Targets) == 0 {
		return
	}
	missed := 0
	fmt.Fprintln(w, "\nTargets of respool")
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, g := range r.Targets {
		holds := "holds"
		if !g.OK {
			holds = "MISSED"
			missed++
		}
		fmt.Fprintf(t, "  %s\t%s\t%s\t%.2f\t%s\n", holds, g.Case, g.What, g.Got, g.Want)
	}
	t.Flush()
	fmt.Fprintf(w, "%d of %d targets hold.\n", len(r.Targets)-missed, len(r.Targets))
}

// inCase returns the rows of one case.
func (r *report) inCase(name string) []row {
	return slices.DeleteFunc(slices.Clone(r.Rows), func(x row) bool { return x.Case != name })
}
