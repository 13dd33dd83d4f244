// Package ping measures round trips to servers. It starts no goroutines.
package ping

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/connect"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/output"
	"github.com/seed-2b0d76a6/respool/monitor"
)

// Report is what ping prints with --json. Times are in microseconds.
type Report struct {
	Addr    string   `json:"addr"`
	Server  string   `json:"server"`
	Version string   `json:"version"`
	Role    string   `json:"role"`
	Clients string   `json:"connected_clients"`
	Max     string   `json:"maxclients"`
	Pings   int      `json:"pings"`
	MinUS   float64  `json:"min_us"`
	P50US   float64  `json:"p50_us"`
	MaxUS   float64  `json:"max_us"`
	Error   string   `json:"error,omitempty"` // why a node does not answer; the other fields except addr are empty then
	Nodes   []Report `json:"nodes,omitempty"` // the servers of a service or a cluster
}

// Incomplete reports whether a server does not answer.
func (r *Report) Incomplete() bool {
	return slices.ContainsFunc(r.Nodes, func(n Report) bool { return n.Error != "" })
}

// Crowded reports whether a server uses so much of its maxclients that the rules report it.
func (r *Report) Crowded() bool {
	if slices.ContainsFunc(r.Nodes, func(n Report) bool { return n.Crowded() }) {
		return true
	}
	used, err := strconv.ParseInt(r.Clients, 10, 64)
	limit, err2 := strconv.ParseInt(r.Max, 10, 64)
	return err == nil && err2 == nil && monitor.Crowded(used, limit)
}

// Measure measures count round trips to a server, or to each server of a service or a cluster, over one connection.
func Measure(ctx context.Context, target connect.Target, count int) (*Report, error) {
	servers, err := connect.Open(ctx, target, "ping", 0, false)
	if err != nil {
		return nil, err
	}
	defer servers.Close()
	reports := make([]*Report, len(servers.List))
	all := make([][]time.Duration, len(servers.List))
	for i, one := range servers.List { // one after the other, so that they do not slow each other down
		if one.Err == nil {
			reports[i], all[i], one.Err = measure(ctx, one, count)
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if !servers.Several() {
		return reports[0], servers.List[0].Err
	}
	took := slices.Concat(all...)
	slices.Sort(took)
	sum := &Report{Addr: servers.Place, Pings: len(took)}
	if len(took) > 0 {
		sum.MinUS, sum.P50US, sum.MaxUS = microseconds(took[0]), microseconds(took[len(took)/2]), microseconds(took[len(took)-1])
	}
	for i, one := range servers.List {
		if one.Err != nil {
			sum.Nodes = append(sum.Nodes, Report{Addr: one.Addr, Error: one.Reason()})
			continue
		}
		sum.Nodes = append(sum.Nodes, *reports[i])
	}
	return sum, nil
}

// measure measures the round trips to one server, and returns them sorted.
func measure(ctx context.Context, one *connect.Server, count int) (*Report, []time.Duration, error) {
	c := one.Probe.Client()
	took := make([]time.Duration, count)
	for i := range took {
		began := time.Now()
		if err := c.Do(ctx, "PING").Err(); err != nil {
			return nil, nil, err
		}
		took[i] = time.Since(began)
	}
	slices.Sort(took)
	info, _ := c.Do(ctx, "INFO").Text() // an ACL may forbid INFO; the round trips are measured all the same
	return newReport(one.Addr, took, monitor.ParseInfo(info)), took, nil
}

// newReport makes a report of sorted round trips and the server's INFO.
func newReport(addr string, took []time.Duration, info monitor.Info) *Report {
	r := &Report{Addr: addr, Pings: len(took), Role: info.Text("role"), Clients: info.Text("connected_clients"), Max: info.Text("maxclients"),
		MinUS: microseconds(took[0]), P50US: microseconds(took[len(took)/2]), MaxUS: microseconds(took[len(took)-1])}
	r.Server, r.Version = "Redis", info.Text("redis_version")
	if v := info.Text("valkey_version"); v != "" {
		r.Server, r.Version = "Valkey", v
	}
	return r
}

// Print writes the report for people.
func (r *Report) Print() error {
	if len(r.Nodes) > 0 {
		return r.printNodes()
	}
	what := strings.TrimSpace(r.Server + " " + r.Version + " " + r.Role)
	fmt.Printf("%s answers: %s; round trip %.0f us (%.0f to %.0f, of %d)", r.Addr, output.Printable(what), r.P50US, r.MinUS, r.MaxUS, r.Pings)
	if r.Clients != "" && r.Max != "" {
		fmt.Printf("; %s of %s connections in use", output.Printable(r.Clients), output.Printable(r.Max))
	}
	fmt.Println()
	return nil
}

func microseconds(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }

// roleText translates a role in INFO; ? if INFO was refused.
func roleText(role string) string {
	switch role {
	case "master":
		return "primary"
	case "slave":
		return "replica"
	}
	return cmp.Or(output.Printable(role), "?")
}

func (r *Report) printNodes() error {
	answer := 0
	for _, n := range r.Nodes {
		if n.Error == "" {
			answer++
		}
	}
	fmt.Printf("%s: %d of %d nodes answer; round trip %.0f us (%.0f to %.0f, of %d)\n\n", r.Addr, answer, len(r.Nodes), r.P50US, r.MinUS, r.MaxUS, r.Pings)
	t := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "node\trole\tround trip\tconnections\tserver")
	for _, n := range r.Nodes {
		if n.Error != "" {
			fmt.Fprintf(t, "%s\t?\tNO ANSWER: %s\n", output.Printable(n.Addr), n.Error)
			continue
		}
		fmt.Fprintf(t, "%s\t%s\t%.0f us\t%s of %s\t%s\n", output.Printable(n.Addr), roleText(n.Role), n.P50US,
			output.Printable(cmp.Or(n.Clients, "?")), output.Printable(cmp.Or(n.Max, "?")), output.Printable(n.Server+" "+n.Version))
	}
	return t.Flush()
}
