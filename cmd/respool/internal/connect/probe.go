package connect

import (
	"context"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/monitor"
)

// Probe connects to a server, or to the primary of a service. large has it
// read CLIENT LIST however many connections the server has.
func Probe(ctx context.Context, opt respool.Options, purpose string, maxclients int64, large bool) (*monitor.Probe, error) {
	cfg := monitor.ProbeConfig{Options: opt, Purpose: purpose, MaxClients: maxclients}
	if large {
		cfg.ListLimit = -1
	}
	probe, err := monitor.NewProbe(cfg)
	if err != nil {
		return nil, err
	}
	if err := probe.Client().Warm(ctx); err != nil {
		Close(probe.Client())
		return nil, err
	}
	return probe, nil
}
