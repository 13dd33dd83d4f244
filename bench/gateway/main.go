// Command gateway compares respool's gateway with direct Redis and with twemproxy, and go-redis over
// respool's dialer in memory with plain go-redis. Workers of redis-py compare blocking commands. It
// reports which of the gateway's targets are met. It starts all processes on free ports of 127.0.0.1
// and ends them. Within a round it measures each subject in turn. Ratios are within a round, so a
// machine that slows down affects both sides.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
)

type cli struct {
	Case        []string      `help:"Run only these cases (${cases})." placeholder:"NAME"`
	Rounds      int           `help:"Rounds of each subject, in turn." default:"5"`
	Time        time.Duration `help:"Duration of one run; a calibration determines the number of requests." default:"2500ms"`
	Requests    int           `help:"Number of GETs and of SETs in each run of redis-benchmark, instead of a calibration." placeholder:"N"`
	JSON        string        `help:"Also write all figures into this file." placeholder:"FILE" type:"path"`
	Profile     string        `help:"Directory for processor profiles of respool: each case runs once more after its rounds. For the gateway, this requires a --gateway-arg with {pprof}." placeholder:"DIR" type:"existingdir"`
	Gateway     string        `help:"Another gateway: a program with respool's flags, or a complete command with {redis} and {listen} for host:port and, if needed, {connections} for max_connections; or direct or twemproxy. Default: respool, built from these sources." placeholder:"CMD"`
	GatewayArg  []string      `help:"Additional argument of the gateway; {pprof} stands for a free host:port." placeholder:"ARG" sep:"none"`
	Connections int           `help:"The gateway's max_connections, except in cases that have their own." default:"8"`

	Worker string `help:"Run one go-redis job, as the comparison does in separate processes." hidden:"" placeholder:"JOB"`
}

func main() {
	// Children end with the thread that started them, so this thread must live on.
	runtime.LockOSThread()
	var c cli
	parser := kong.Must(&c,
		kong.Name("gateway"),
		kong.Description("Compare respool's gateway with direct Redis and with twemproxy.\n\nExample: go run -C bench ./gateway --case c50 --rounds 3"),
		kong.Vars{"cases": caseNames()},
		kong.UsageOnError(),
	)
	_, err := parser.Parse(os.Args[1:])
	parser.FatalIfErrorf(err)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if c.Worker != "" {
		err = work(ctx, c.Worker)
	} else {
		err = c.compare(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "gateway:", err)
		os.Exit(1)
	}
}

// compare runs the cases and reports.
func (c *cli) compare(ctx context.Context) error {
	cases, err := selectCases(c.Case)
	if err != nil {
		return err
	}
	if err := c.check(cases); err != nil {
		return err
	}
	l, err := openLab(ctx, c)
	if err != nil {
		return err
	}
	defer l.close()
	r := &runner{lab: l, rounds: c.Rounds, time: c.Time, requests: c.Requests, profiles: c.Profile, note: func(line string) { fmt.Fprintln(os.Stderr, line) }}
	results, err := r.run(ctx, cases)
	if len(results) == 0 {
		return err
	}
	rep := makeReport(l.facts(), cases, results)
	rep.writeTable(os.Stdout)
	if c.JSON != "" {
		err = errors.Join(err, rep.writeFile(c.JSON))
	}
	return err
}

func (c *cli) check(cases []gatewayCase) error {
	if c.Rounds < 1 || c.Time < 50*time.Millisecond || c.Requests < 0 || c.Connections < 1 {
		return fmt.Errorf("--rounds %d, --time %v, --requests %d, --connections %d: want at least 1 round, 50ms, 0 requests and 1 connection",
			c.Rounds, c.Time, c.Requests, c.Connections)
	}
	fetches := c.Profile != "" && slices.ContainsFunc(cases, func(x gatewayCase) bool { return x.Load == benchmarked })
	if fetches && !strings.Contains(c.Gateway+strings.Join(c.GatewayArg, " "), "{pprof}") {
		return errors.New("--profile without an address of profiles: want a --gateway-arg with {pprof}, such as --gateway-arg=--pprof={pprof}")
	}
	return nil
}
