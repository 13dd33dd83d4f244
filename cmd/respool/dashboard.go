package main

import (
	"os"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/monitoring"
)

type dashboardCmd struct{}

// Help is the long help of the command.
func (dashboardCmd) Help() string {
	return `Prints a dashboard in JSON for Grafana 10.4 or later. It shows the occupancy of servers with a
forecast, the holders of their connections, opened and rejected connections, clusters, the pools of
services, and gateways. The user selects the data source, servers and pools. docs/metrics.md lists the metrics.

Examples:
  respool dashboard > respool.json
  respool dashboard > /var/lib/grafana/dashboards/respool.json`
}

func (*dashboardCmd) Run() error { return monitoring.WriteDashboard(os.Stdout) }
