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
	"reflect"
	"strconv"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
	// The roots of certificates, for systems without any, such as an image with nothing but this program.
	_ "golang.org/x/crypto/x509roots/fallback"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/config"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/connect"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/output"
	"github.com/seed-2b0d76a6/respool/internal/gateway"
	"github.com/seed-2b0d76a6/respool/plan"
)

type cli struct {
	Doctor  doctorCmd        `cmd:"" help:"Diagnose the connections of servers, and name who causes trouble: start here."`
	Top     topCmd           `cmd:"" help:"Show the connections of servers live."`
	Who     whoCmd           `cmd:"" help:"List who holds the connections of servers."`
	Kill    killCmd          `cmd:"" help:"Close the connections that match filters."`
	Watch   watchCmd         `cmd:"" help:"Watch the connections of servers, and send alerts."`
	Ping    pingCmd          `cmd:"" help:"Measure round trips to servers, and report their versions and roles."`
	Serve   serveCmd         `cmd:"" help:"Serve clients in any language over a few connections to Redis."`
	Demo    demoCmd          `cmd:"" help:"Compare thousands of callers without a connection limit and through respool."`
	Drill   drillCmd         `cmd:"" help:"Fail over a service or a cluster under load, and report the effects on callers."`
	Plan    planCmd          `cmd:"" help:"Size the connection pools of a service, and check whether they fit the server."`
	Check   checkCmd         `cmd:"" help:"Add up the planned connections of all services, and check whether they fit the server."`
	Rules   rulesCmd         `cmd:"" help:"Print alerting rules for Prometheus."`
	Board   dashboardCmd     `cmd:"" name:"dashboard" help:"Print a dashboard for Grafana."`
	Pass    passwordCmd      `cmd:"" name:"password" help:"Print a password's SHA-256, for the configuration of serve."`
	Schema  schemaCmd        `cmd:"" help:"Print the JSON schema of a configuration or of a plan file."`
	Compl   completionCmd    `cmd:"" name:"completion" help:"Print the completion script of a shell."`
	Man     manCmd           `cmd:"" help:"Print the manual page."`
	Version kong.VersionFlag `help:"Print the version."`
}

func main() {
	os.Exit(run(os.Args[1:]))
}

func run(args []string) int {
	var c cli
	exited := -1
	parser, err := newParser(&c, func(code int) { exited = code })
	if err != nil {
		fmt.Fprintln(os.Stderr, "respool:", err)
		return exitFailed
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	kctx, err := parser.Parse(joinNegative(args))
	if exited >= 0 {
		return exited
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, usage(err))
		return exitFailed
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
		fmt.Fprintln(os.Stderr, message(connect.ExplainFull(connect.ExplainScheme(ctx, err))))
		return exitFailed
	}
}

// newParser returns the parser of the command line. exit is called after a help text or the version.
func newParser(c *cli, exit func(code int)) (*kong.Kong, error) {
	return kong.New(c,
		kong.Name("respool"),
		kong.Description("Redis connections, bounded.\n\n"+exitHelp),
		defaults(),
		kong.TypeMapper(reflect.TypeFor[time.Duration](), kong.MapperFunc(decodeDuration)),
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
