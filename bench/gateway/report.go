package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
)

// facts are the facts of the machine and of the comparison.
type facts struct {
	Redis       string `json:"redis"`
	Benchmark   string `json:"redis_benchmark"`
	Twemproxy   string `json:"twemproxy,omitempty"`
	Go          string `json:"go"`
	CPUs        int    `json:"cpus"`
	CPU         string `json:"cpu"`
	Kernel      string `json:"kernel"`
	Rounds      int    `json:"rounds"`
	Gateway     string `json:"gateway"`
	Connections int    `json:"connections"` // of the gateway, in cases without their own number
}

// row is one subject in one case.
type row struct {
	Case    string `json:"case"`
	Subject string `json:"subject"`
	sample
	Ratio  *spread  `json:"get_ratio_to_first,omitempty"` // relative to the first subject of the case; absent for that subject
	Rounds []sample `json:"rounds"`
}

// target is a figure that the gateway should reach.
type target struct {
	Case     string `json:"case"`
	What     string `json:"what"`
	Measured bool   `json:"measured"`
	spread
	Want string `json:"want"`
	OK   bool   `json:"ok"`
}

// report is the outcome of a comparison.
type report struct {
	facts
	Rows    []row    `json:"rows"`
	Targets []target `json:"targets"`

	cases []gatewayCase
}

func makeReport(f facts, cases []gatewayCase, r results) *report {
	rep := &report{facts: f, cases: cases}
	for _, c := range cases {
		rounds := r[c.Name]
		for i, name := range c.subjects {
			if len(rounds[name]) == 0 {
				continue
			}
			x := row{Case: c.Name, Subject: name, sample: medianSample(rounds[name]), Rounds: rounds[name]}
			if s, ok := compared(rounds, get, name, c.subjects[0]); ok && i > 0 {
				x.Ratio = &s
			}
			rep.Rows = append(rep.Rows, x)
		}
		for _, w := range c.targets {
			s, ok := compared(rounds, w.field, w.subject, w.peer)
			rep.Targets = append(rep.Targets, target{c.Name, w.what, ok, s,
				fmt.Sprintf("%s %g", w.bound, w.limit), ok && w.bound.holds(s.Median, w.limit)})
		}
	}
	return rep
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
	twemproxyVersion := "no twemproxy"
	if r.Twemproxy != "" {
		twemproxyVersion = r.Twemproxy + " (defaults and preconnect)"
	}
	fmt.Fprintf(w, "redis-server %s, %s, %s, %s; Linux %s, %s, %d cores shared by all.\n",
		r.Redis, r.Benchmark, twemproxyVersion, r.Go, r.Kernel, r.CPU, r.CPUs)
	fmt.Fprintf(w, "gateway: %s; {connections} is %d except in cases with their own.\n", r.Gateway, r.Connections)
	fmt.Fprintf(w, "Values of %d B, %d keys; medians of %d rounds, each subject in turn; ratios within a round: median (least-most).\n",
		valueSize, keyCount, r.Rounds)
	for _, c := range r.cases {
		r.writeCase(w, c)
	}
	r.writeTargets(w)
}

func (r *report) writeCase(w io.Writer, c gatewayCase) {
	fmt.Fprintf(w, "\n%s: %s\n", c.Name, c.About)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	switch c.Load {
	case idle:
		fmt.Fprintln(t, "subject\tMiB before\tMiB after\tMiB more\tKiB a client\t")
	case goRedis:
		fmt.Fprintln(t, "subject\tops/s\tof plain\tp50 us\tp99 us\tus/op: redis\tgo-redis\t")
	case workers:
		fmt.Fprintln(t, "subject\telements/s\tof direct\tp50 us\tp99 us\tus/element: redis\tproxy\tredis-py\tconnections of redis\t")
	default:
		fmt.Fprintln(t, "subject\tGET/s\tof direct\tSET/s\tp50 us\tp99 us\tcpu us/request: redis\tproxy\tredis-benchmark\t")
	}
	for _, x := range r.Rows {
		if x.Case != c.Name {
			continue
		}
		of := "1"
		if x.Ratio != nil {
			of = x.Ratio.String()
		}
		switch c.Load {
		case idle:
			more := grown(&x.sample)
			fmt.Fprintf(t, "%s\t%.1f\t%.1f\t%.1f\t%.2f\t\n", x.Subject, x.Before/mib, x.After/mib, more, more*mib/float64(c.Clients))
		case goRedis:
			fmt.Fprintf(t, "%s\t%.0f\t%s\t%.0f\t%.0f\t%.2f\t%.2f\t\n", x.Subject, x.Get, of, x.P50, x.P99, x.ServerCPU, x.LoadCPU)
		case workers:
			fmt.Fprintf(t, "%s\t%.0f\t%s\t%.0f\t%.0f\t%.2f\t%s\t%.2f\t%.0f\t\n", x.Subject, x.Get, of, x.P50, x.P99,
				x.ServerCPU, x.proxyCost(), x.LoadCPU, x.Connections)
		default:
			fmt.Fprintf(t, "%s\t%.0f\t%s\t%.0f\t%.0f\t%.0f\t%.2f\t%s\t%.2f\t\n", x.Subject, x.Get, of, x.Set, x.P50, x.P99,
				x.ServerCPU, x.proxyCost(), x.LoadCPU)
		}
	}
	t.Flush()
}

// proxyCost formats the processor time of the proxy, if there is one.
func (x *row) proxyCost() string {
	if x.ProxyCPU == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", x.ProxyCPU)
}

func (s spread) String() string { return fmt.Sprintf("%.2f (%.2f-%.2f)", s.Median, s.Min, s.Max) }

func (r *report) writeTargets(w io.Writer) {
	fmt.Fprintln(w, "\nTargets of the gateway")
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	held := 0
	for _, g := range r.Targets {
		holds, got := "holds", g.spread.String()
		switch {
		case !g.Measured:
			holds, got = "NOT MEASURED", "-"
		case g.OK:
			held++
		default:
			holds = "MISSED"
		}
		fmt.Fprintf(t, "  %s\t%s\t%s\t%s\t%s\n", holds, g.Case, g.What, got, g.Want)
	}
	t.Flush()
	fmt.Fprintf(w, "%d of %d targets hold.\n", held, len(r.Targets))
}
