package main

import (
	"os"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/monitoring"
)

type dashboardCmd struct{}

// Help is the long help of the command.
func (dashboardCmd) Help() string {
	return `Prints a dashboard for Grafana 10.4 or later, in JSON: how full servers are and when they will be,
who holds their connections, what is opened and rejected, and what services see of their pools.
It asks for the data source, and shows any of the servers and pools. docs/metrics.md lists the metrics.

Examples:
  respool dashboard > respool.json
  respool dashboard > /var/lib/grafana/dashboards/respool.json`
}

func (*dashboardCmd) Run() error { return monitoring.WriteDashboard(os.Stdout) }
