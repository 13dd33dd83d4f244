package demo

import (
	"fmt"
	"os"
	"text/tabwriter"
)

// Side is the report of one side.
type Side struct {
	Side   string  `json:"side"`
	Ops    int64   `json:"operations"`
	OpsPS  float64 `json:"ops_per_s"`
	P50US  int64   `json:"p50_us"`
	P99US  int64   `json:"p99_us"`
	Peak   int64   `json:"peak_sockets"`
	Opened int64   `json:"connections_opened"`
	Errors int64   `json:"errors"`
	First  string  `json:"first_error,omitempty"`
}

// Report is the report of both sides, as printed with --json.
type Report struct {
	Server         string  `json:"server"`
	Callers        int     `json:"callers"`
	Seconds        float64 `json:"seconds"`
	MaxConnections int     `json:"max_connections"`
	Sides          []Side  `json:"sides"`
}

// Print writes the report for people.
func (r *Report) Print() error {
	a, b := r.Sides[0], r.Sides[1]
	fmt.Println(r.verdict())
	fmt.Printf("\n%d callers on %s for %gs on each side; GET and SET of 64 bytes, 4 to 1, every reply checked\n\n", r.Callers, r.Server, r.Seconds)
	t := tabwriter.NewWriter(os.Stdout, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "\t%s\t%s\t\n", a.Side, b.Side)
	fmt.Fprintf(t, "operations a second\t%.0f\t%.0f\t\n", a.OpsPS, b.OpsPS)
	fmt.Fprintf(t, "p50\t%s\t%s\t\n", millisecondsText(a.P50US), millisecondsText(b.P50US))
	fmt.Fprintf(t, "p99\t%s\t%s\t\n", millisecondsText(a.P99US), millisecondsText(b.P99US))
	fmt.Fprintf(t, "peak sockets\t%d\t%d\t\n", a.Peak, b.Peak)
	fmt.Fprintf(t, "connections opened\t%d\t%d\t\n", a.Opened, b.Opened)
	fmt.Fprintf(t, "errors\t%d\t%d\t\n", a.Errors, b.Errors)
	if err := t.Flush(); err != nil {
		return err
	}
	for _, s := range r.Sides {
		if s.First != "" {
			fmt.Printf("\nfirst error %s: %s\n", s.Side, s.First)
		}
	}
	return nil
}

func (r *Report) verdict() string {
	a, b := r.Sides[0], r.Sides[1]
	if a.OpsPS == 0 {
		return fmt.Sprintf("respool: %d sockets at peak instead of %d, and %.0f operations a second instead of none.", b.Peak, a.Peak, b.OpsPS)
	}
	return fmt.Sprintf("respool: %d sockets at peak instead of %d, at %.1f times the operations a second.", b.Peak, a.Peak, b.OpsPS/a.OpsPS)
}

func millisecondsText(us int64) string { return fmt.Sprintf("%.2f ms", float64(us)/1000) }
