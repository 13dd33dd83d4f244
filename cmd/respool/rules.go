package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/monitoring"
)

type rulesCmd struct {
	Job string `help:"Only what is scraped by this job counts as the monitor's; without it every monitor counts."`
}

// Help is the long help of the command.
func (rulesCmd) Help() string {
	return `Prints alerting rules for Prometheus 2.42 or later, in YAML: of the servers, as a monitor shows
them, and of the pools, as services show them. docs/metrics.md lists the metrics.

Each rule has a label severity: page (somebody should see to it now), ticket (in working hours)
or warn (will hurt). An alert tells what is wrong and which command to run next. Pods that
show the same count as one; a pool's alert keeps the pool's name, to find its owner by.

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
