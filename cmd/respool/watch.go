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

	URL     string `arg:"" optional:"" help:"The server, or the service with its sentinels, where there is no configuration."`
	Config  string `short:"c" type:"path" help:"The configuration, in YAML."`
	Profile string `help:"The profile of the configuration to use, such as production."`
	Listen  string `help:"Where the pages are served, instead of what the configuration says; off: nowhere. Default: ${watch_listen}."`
	Check   bool   `help:"Read the configuration, say whether it is right, and end."`
	JSON    bool   `help:"Write the log as JSON."`
}

func (watchCmd) Help() string {
	return `Looks at a server, or at all nodes of a service, again and again: who holds the
connections, how full it is, when it will be full. Judges that by rules, and tells when one
fires and when it is over: the log, a webhook, Alertmanager, a command. Serves /metrics for
Prometheus, /healthz, /api/snapshot and /api/alerts.

It holds one connection to each node, and keeps it: so it goes on when the server is full.
A look costs the server 0.1 ms, every 5 s; one at the clients, every minute, 2 ms at 1,000 connections.
SIGHUP reads the configuration again; a bad one is refused, and the old one kept.
docs/operate.md has the configuration and the rules.

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
		fmt.Printf("%s is right: %s\n", cmp.Or(w.Config, "this"), s.Summary())
		return nil
	}
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	return watch.NewDaemon(flags, newLog(w.JSON)).Run(ctx, s, hup)
}
