// Package doctor examines a server's connections twice and reports findings. The
// rules are those of package monitor. It starts no goroutines.
package doctor

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/connect"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/output"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/progress"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/report"
	"github.com/seed-2b0d76a6/respool/monitor"
)

// Config configures an examination.
type Config struct {
	For        time.Duration // between the two looks
	MaxClients int64         // the server's limit, if the server does not report one
	Large      bool          // read CLIENT LIST however many connections there are
}

// Examine looks at a server's connections twice and diagnoses them.
func Examine(ctx context.Context, opt respool.Options, d Config) (*Report, error) {
	probe, err := connect.Probe(ctx, opt, "doctor", d.MaxClients, d.Large)
	if err != nil {
		return nil, err
	}
	defer connect.Close(probe.Client())
	return d.report(ctx, probe)
}

func (d *Config) report(ctx context.Context, probe *monitor.Probe) (*Report, error) {
	bar := progress.Start("watching for "+d.For.String(), d.For)
	before, after, between, err := probe.Between(ctx, d.For, func() { bar.Update(0) })
	bar.Clear()
	if err != nil {
		return nil, err
	}
	findings := monitor.Diagnose(before, after, between...)
	unwatched, err := probe.KeyChanges(ctx)
	switch {
	case err != nil:
		return nil, err
	case unwatched != nil:
		findings = append(findings, *unwatched) // a note, after the others
	}
	rep := &Report{Addr: probe.Client().Stats().Addr, Server: after.Info.Server(), Connections: after.Connections, MaxClients: after.MaxClients,
		SecondsRun: after.At.Sub(before.At).Seconds(), Findings: findings}
	if rep.Findings == nil {
		rep.Findings = []monitor.Finding{}
	}
	if r := monitor.RatesBetween(before, after); r.Known {
		rep.Rates = &report.Rates{Opened: r.Opened, Rejected: r.Rejected, Commands: r.Commands}
	}
	if after.Clients != nil {
		g := after.Clients.Total()
		rep.Clients = &Clients{g.Active, g.Blocked, g.Subscribed, g.Idle}
		rep.Holders = holdersBetween(before, after)
	}
	refused := probe.Refused()
	for _, what := range slices.Sorted(maps.Keys(refused)) {
		rep.NotAsked = append(rep.NotAsked, what+": "+refused[what])
	}
	rep.Verdict = monitor.Summary(rep.Findings) + ": " + output.Count(int(after.Connections), "connection")
	if share, ok := after.Occupancy(); ok {
		rep.Verdict += fmt.Sprintf(" of %d (%.0f%%)", after.MaxClients, 100*share)
	}
	return rep, nil
}
