package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/monitoring"
)

type rulesCmd struct {
	Job string `help:"Use only the monitors that this Prometheus job scrapes. Default: all monitors."`
}

// Help is the long help of the command.
func (rulesCmd) Help() string {
	return `Prints alerting rules in YAML for Prometheus 2.42 or later. They cover servers and clusters, which
a monitor exports, pools, which services export, and gateways. docs/metrics.md lists the metrics.

Each rule has the label severity: page (act now), ticket (act in working hours) or warn (a future
problem). An alert states the problem and the command to run next. Several monitors of one
server raise one alert. The alert of a pool carries the name of the pool.

Examples:
  respool rules > respool.rules.yaml && promtool check rules respool.rules.yaml
  respool rules --job respool > /etc/prometheus/rules/respool.yaml`
}

func (r *rulesCmd) Run() error {
	if strings.ContainsAny(r.Job, "\"\\\n") {
		return fmt.Errorf("--job is %q: want the name of a job", r.Job)
	}
	return monitoring.WriteRules(os.Stdout, r.Job)
}
