// Command respool serves clients of any language over a few connections to
// Redis, and inspects, watches and sizes the connections of servers.
//
// Each command has one file here, which holds its flags, its help text and a thin
// Run. The implementation is in internal.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/config"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/output"
	"github.com/seed-2b0d76a6/respool/internal/gateway"
	"github.com/seed-2b0d76a6/respool/plan"
)

type cli struct {
	Demo    demoCmd          `cmd:"" help:"Compare thousands of callers without a connection limit and through respool."`
	Ping    pingCmd          `cmd:"" help:"Measure round trips to a server, and report its version and role."`
	Drill   drillCmd         `cmd:"" help:"Fail over a Sentinel service under load, and report the effects on callers."`
	Plan    planCmd          `cmd:"" help:"Size the connection pools of a service, and check whether they fit the server."`
	Check   checkCmd         `cmd:"" help:"Add up the planned connections of all services, and check whether they fit the server."`
	Who     whoCmd           `cmd:"" help:"List who holds the connections of a server."`
	Serve   serveCmd         `cmd:"" help:"Serve clients in any language over a few connections to Redis."`
	Pass    passwordCmd      `cmd:"" name:"password" help:"Print a password's SHA-256, for the configuration of serve."`
	Watch   watchCmd         `cmd:"" help:"Watch the connections of a server, and send alerts."`
	Kill    killCmd          `cmd:"" help:"Close the connections that match filters."`
	Rules   rulesCmd         `cmd:"" help:"Print alerting rules for Prometheus."`
	Board   dashboardCmd     `cmd:"" name:"dashboard" help:"Print a dashboard for Grafana."`
	Top     topCmd           `cmd:"" help:"Show the connections of a server live."`
	Doctor  doctorCmd        `cmd:"" help:"Diagnose the connections of a server."`
	Version kong.VersionFlag `help:"Print the version."`
}

// The exit codes. Success is 0.
const (
	exitWarning = 1
	exitFailed  = 2
	exitUsage   = 2
)

// exitCode is an error that ends the tool with that code and prints nothing.
type exitCode int

func (c exitCode) Error() string { return fmt.Sprintf("exit code %d", int(c)) }

func main() {
	os.Exit(run(os.Args[1:]))
}

func run(args []string) int {
	var c cli
	exited := -1
	parser, err := newParser(&c, func(code int) { exited = code })
	if err != nil {
		fmt.Fprintln(os.Stderr, "respool:", err)
		return exitUsage
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	kctx, err := parser.Parse(args)
	if exited >= 0 {
		return exited
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "respool: %v\nTry: respool --help\n", err)
		return exitUsage
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	kctx.BindTo(ctx, (*context.Context)(nil))
	err = kctx.Run()
	var code exitCode
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code):
		return int(code)
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		fmt.Fprintln(os.Stderr, "respool: interrupted")
		return exitFailed
	default:
		fmt.Fprintln(os.Stderr, message(err))
		return exitFailed
	}
}

// newParser returns the parser of the command line. exit is called after a help text or the version.
func newParser(c *cli, exit func(code int)) (*kong.Kong, error) {
	return kong.New(c,
		kong.Name("respool"),
		kong.Description("Redis connections, bounded."),
		defaults(),
		kong.UsageOnError(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.Exit(exit),
	)
}

// defaults are the variables of the help texts. Each default is defined in the package that uses
// it.
func defaults() kong.Vars {
	return kong.Vars{
		"version":           version(),
		"serve_listen":      config.DefaultListen,
		"serve_pages":       config.DefaultServePages,
		"serve_max_clients": strconv.Itoa(gateway.DefaultMaxClients),
		"serve_drain":       config.DefaultDrain.String(),
		"watch_listen":      config.DefaultWatchPages,
		"plan_maxclients":   strconv.Itoa(plan.DefaultMaxClients),
	}
}

// message formats an error with the tool's name before it.
func message(err error) string { return "respool: " + output.Error(err) }

// printer is a report that can be printed for people.
type printer interface {
	Print() error
}

// show prints a report for people, or as one JSON object on a line.
func show(r printer, asJSON bool) error {
	if asJSON {
		return output.JSON(r)
	}
	return r.Print()
}

// newLog is a log on standard error, as text or as JSON.
func newLog(asJSON bool) *slog.Logger {
	if asJSON {
		return slog.New(slog.NewJSONHandler(os.Stderr, nil))
	}
	return slog.New(slog.NewTextHandler(os.Stderr, nil))
}
