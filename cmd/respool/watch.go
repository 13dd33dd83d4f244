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

	URL     string `arg:"" optional:"" help:"URL of the server, or of the service or the cluster, if there is no configuration."`
	Config  string `short:"c" type:"path" help:"Configuration file in YAML."`
	Profile string `help:"Profile of the configuration, such as production."`
	Listen  string `help:"Address of the HTTP pages, or off. Overrides the configuration. Default: ${watch_listen}."`
	Socket  string `placeholder:"unix:///path?mode=0600" help:"Unix socket for respool kill, doctor and who. Works while the server is full. Overrides the configuration. Default: none."`
	Check   bool   `help:"Check the configuration, and exit."`
	JSON    bool   `help:"Write the log as JSON."`

	PrintConfig bool `help:"Print the effective configuration as YAML, with secrets hidden, and exit."`
}

func (watchCmd) Help() string {
	return `Watches the connections of a server, or of all nodes of a service or a cluster: holders,
occupancy, forecast; of a cluster also slots without a node, missing replicas and hot nodes.
Evaluates rules, and reports alerts when they fire and when they are resolved: to the log, a
webhook, Alertmanager or a command. Prints the address of a page that shows all of it live in a
browser. Also serves /metrics for Prometheus, /healthz, /readyz, /api/snapshot, /api/alerts and
/api/connections.

It keeps one connection to each node, so it continues when the server is full. respool doctor and
respool who use that connection if their URL is the address of the pages, and respool kill if it is
the Unix socket (--socket). It reads INFO every 5 s, which takes 0.1 ms of the server's time, and
CLIENT LIST every minute, which takes 2 ms at 1,000 connections, with INFO commandstats and SLOWLOG.
SIGHUP reloads the configuration; if the new one is wrong, the old one stays.
docs/operate.md describes the configuration and the rules.

Examples:
  respool watch redis://localhost:6379
  respool watch redis+cluster://n1:6379,n2:6379
  respool watch -c respool.yaml --profile production
  respool watch -c respool.yaml --check`
}

func (w *watchCmd) Run(ctx context.Context) error {
	flags := watch.Flags{Credentials: w.Credentials, URL: w.URL, Config: w.Config, Profile: w.Profile, Listen: w.Listen, Socket: w.Socket}
	s, err := flags.Read()
	if err != nil {
		return err
	}
	if w.PrintConfig {
		return s.Print(os.Stdout)
	}
	if w.Check {
		fmt.Printf("%s is valid: %s\n", cmp.Or(w.Config, "this"), s.Summary())
		return nil
	}
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	return watch.NewDaemon(flags, newLog(w.JSON), os.Stdout).Run(ctx, s, hup)
}
