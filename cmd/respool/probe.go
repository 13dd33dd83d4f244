package main

import (
	"context"

	"github.com/seed-2b0d76a6/respool/monitor"
)

// probe connects to what a URL names, or to the primary of the service that it names.
func (f *credentialsFlag) probe(ctx context.Context, url, purpose string, maxclients int64, large bool) (*monitor.Probe, error) {
	opt, err := f.options(url)
	if err != nil {
		return nil, err
	}
	cfg := monitor.ProbeConfig{Options: opt, Purpose: purpose, MaxClients: maxclients}
	if large {
		cfg.ListLimit = -1
	}
	probe, err := monitor.NewProbe(cfg)
	if err != nil {
		return nil, err
	}
	if err := probe.Client().Warm(ctx); err != nil {
		closeClient(probe.Client())
		return nil, err
	}
	return probe, nil
}
