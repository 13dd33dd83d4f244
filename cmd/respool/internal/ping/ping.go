// Package ping measures round trips to a server. It starts no goroutines.
package ping

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/output"
	"github.com/seed-2b0d76a6/respool/monitor"
)

// Report is what ping prints with --json. Times are in microseconds.
type Report struct {
	Addr    string  `json:"addr"`
	Server  string  `json:"server"`
	Version string  `json:"version"`
	Role    string  `json:"role"`
	Clients string  `json:"connected_clients"`
	Max     string  `json:"maxclients"`
	Pings   int     `json:"pings"`
	MinUS   float64 `json:"min_us"`
	P50US   float64 `json:"p50_us"`
	MaxUS   float64 `json:"max_us"`
}

// Measure measures count round trips to a server over one connection.
func Measure(ctx context.Context, opt respool.Options, count int) (*Report, error) {
	opt.MaxConnections, opt.Lanes, opt.MinIdle = 1, 1, 0
	c, err := respool.New(opt)
	if err != nil {
		return nil, err
	}
	defer c.Close(ctx)
	if err := c.Warm(ctx); err != nil {
		return nil, err
	}
	took := make([]time.Duration, count)
	for i := range took {
		began := time.Now()
		if err := c.Do(ctx, "PING").Err(); err != nil {
			return nil, err
		}
		took[i] = time.Since(began)
	}
	slices.Sort(took)
	info, _ := c.Do(ctx, "INFO").Text() // an ACL may forbid INFO; the round trips are measured all the same
	return newReport(c.Stats().Addr, took, monitor.ParseInfo(info)), nil
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
	what := strings.TrimSpace(r.Server + " " + r.Version + " " + r.Role)
	fmt.Printf("%s answers: %s; round trip %.0f us (%.0f to %.0f, of %d)", r.Addr, output.Printable(what), r.P50US, r.MinUS, r.MaxUS, r.Pings)
	if r.Clients != "" && r.Max != "" {
		fmt.Printf("; %s of %s connections in use", output.Printable(r.Clients), output.Printable(r.Max))
	}
	fmt.Println()
	return nil
}

func microseconds(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }
