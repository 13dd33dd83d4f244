// Package monitoring writes alerting rules for Prometheus and a dashboard for
// Grafana, for the metrics that docs/metrics.md lists. It collects no metrics. It
// starts no goroutines.
package monitoring

import (
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/seed-2b0d76a6/respool/monitor"
)

// WriteRules writes the alerting rules as YAML. If job is not empty, the rules of servers select
// that job.
func WriteRules(w io.Writer, job string) error {
	if _, err := io.WriteString(w, "# Alerting rules for Redis connections, written by respool rules.\n"); err != nil {
		return err
	}
	d, err := yaml.NewDumper(w, yaml.WithIndent(2), yaml.WithLineWidth(-1))
	if err != nil {
		return err
	}
	if err := d.Dump(newRuleFile(job)); err != nil {
		return err
	}
	return d.Close()
}

// ruleFile is a file of rules as Prometheus reads it.
type ruleFile struct {
	Groups []ruleGroup `yaml:"groups"`
}

type ruleGroup struct {
	Name  string      `yaml:"name"`
	Rules []alertRule `yaml:"rules"`
}

type alertRule struct {
	Alert       string            `yaml:"alert"`
	Expr        string            `yaml:"expr"`
	For         string            `yaml:"for,omitempty"`
	Keep        string            `yaml:"keep_firing_for,omitempty"`
	Labels      map[string]string `yaml:"labels"`
	Annotations ruleTexts         `yaml:"annotations"`
}

// ruleTexts are Go templates with the functions of Prometheus.
type ruleTexts struct {
	Summary     string `yaml:"summary"`
	Description string `yaml:"description"`
}

func newRuleFile(job string) ruleFile {
	selector := ""
	if job != "" {
		selector = fmt.Sprintf("{job=%q}", job)
	}
	of := func(list []alertRule) []alertRule {
		for i := range list {
			list[i].Expr = strings.NewReplacer(
				"SAME(", "max without (instance, pod) (",
				"ALL(", "sum without (instance, pod, server_address, server_port) (",
				"{MONITOR}", selector,
				"{REDIS}", `{db_system_name="redis"}`,
			).Replace(list[i].Expr)
		}
		return list
	}
	return ruleFile{[]ruleGroup{
		{"respool-servers", of(serverAlerts())},
		{"respool-connections", of(connectionAlerts())},
		{"respool-pools", of(poolAlerts())},
		{"respool-gateways", of(gatewayAlerts())},
	}}
}

func alertLabels(s monitor.Severity) map[string]string {
	return map[string]string{"severity": s.String()}
}
