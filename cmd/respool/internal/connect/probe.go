package connect

import (
	"context"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/monitor"
)

// Probe connects to a server, or to the primary of a service. If large is set, it reads CLIENT LIST
// for any number of connections.
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
