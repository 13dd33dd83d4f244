package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/watch"
)

type watchCmd struct {
	credentialsFlag

	URL     string `arg:"" optional:"" help:"URL of the server, or of the service with its sentinels, if there is no configuration."`
	Config  string `short:"c" type:"path" help:"Configuration file in YAML."`
	Profile string `help:"Profile of the configuration, such as production."`
	Listen  string `help:"Address of the HTTP pages, or off. Overrides the configuration. Default: ${watch_listen}."`
	Check   bool   `help:"Check the configuration, and exit."`
	JSON    bool   `help:"Write the log as JSON."`
}

func (watchCmd) Help() string {
	return `Watches the connections of a server, or of all nodes of a service: holders, occupancy, forecast.
Evaluates rules, and reports alerts when they fire and when they are resolved: to the log, a
webhook, Alertmanager or a command. Serves the pages /metrics for Prometheus, /healthz,
/api/snapshot and /api/alerts.

It keeps one connection to each node, so it continues when the server is full. It reads INFO every
5 s, which takes 0.1 ms of the server's time, and CLIENT LIST every minute, which takes 2 ms at
1,000 connections. SIGHUP reloads the configuration; if the new one is wrong, the old one stays.
docs/operate.md describes the configuration and the rules.

Examples:
  respool watch redis://localhost:6379
  respool watch -c respool.yaml --profile production
  respool watch -c respool.yaml --check`
}

func (w *watchCmd) Run(ctx context.Context) error {
	flags := watch.Flags{Credentials: w.Credentials, URL: w.URL, Config: w.Config, Profile: w.Profile, Listen: w.Listen}
	s, err := flags.Read()
	if err != nil {
		return err
	}
	if w.Check {
		fmt.Printf("%s is valid: %s\n", cmp.Or(w.Config, "this"), s.Summary())
		return nil
	}
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	return watch.NewDaemon(flags, newLog(w.JSON)).Run(ctx, s, hup)
}
