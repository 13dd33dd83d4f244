package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/seed-2b0d76a6/respool"
)

type pingCmd struct {
	credentialsFlag

	URL   string `arg:"" help:"Where: redis://, rediss:// or unix://, with the keys of docs/options.md."`
	Count int    `default:"5" help:"How many round trips to measure."`
	JSON  bool   `help:"Print one JSON object."`
}

func (pingCmd) Help() string {
	return `Examples:
  respool ping redis://localhost:6379
  respool ping 'rediss://:secret@cache.example:6380?ssl_ca_certs=ca.pem' --json`
}

// pingReport is what ping prints with --json. Times are in microseconds.
type pingReport struct {
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

func (p *pingCmd) Run(ctx context.Context) error {
	if p.Count < 1 {
		return fmt.Errorf("--count is %d: want 1 or more", p.Count)
	}
	opt, err := p.options(p.URL)
	if err != nil {
		return err
	}
	opt.MaxConnections, opt.Lanes, opt.MinIdle = 1, 1, 0
	c, err := respool.New(opt)
	if err != nil {
		return err
	}
	defer c.Close(ctx)
	if err := c.Warm(ctx); err != nil {
		return err
	}
	took := make([]time.Duration, p.Count)
	for i := range took {
		began := time.Now()
		if err := c.Do(ctx, "PING").Err(); err != nil {
			return err
		}
		took[i] = time.Since(began)
	}
	slices.Sort(took)
	info, _ := c.Do(ctx, "INFO").Text() // an ACL may forbid it: the pings count
	return p.print(c.Stats().Addr, took, infoFields(info))
}

func (p *pingCmd) print(addr string, took []time.Duration, info map[string]string) error {
	r := pingReport{Addr: addr, Pings: len(took), Role: info["role"], Clients: info["connected_clients"], Max: info["maxclients"],
		MinUS: micros(took[0]), P50US: micros(took[len(took)/2]), MaxUS: micros(took[len(took)-1])}
	r.Server, r.Version = "Redis", info["redis_version"]
	if v := info["valkey_version"]; v != "" {
		r.Server, r.Version = "Valkey", v
	}
	if p.JSON {
		return printJSON(r)
	}
	what := strings.TrimSpace(r.Server + " " + r.Version + " " + r.Role)
	fmt.Printf("%s answers: %s; round trip %.0f us (%.0f to %.0f, of %d)", addr, printable(what), r.P50US, r.MinUS, r.MaxUS, r.Pings)
	if r.Clients != "" && r.Max != "" {
		fmt.Printf("; %s of %s connections in use", printable(r.Clients), printable(r.Max))
	}
	fmt.Println()
	return nil
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }

func infoFields(info string) map[string]string {
	m := map[string]string{}
	for line := range strings.Lines(info) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			m[key] = value
		}
	}
	return m
}
