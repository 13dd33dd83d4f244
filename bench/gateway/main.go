// Command gateway compares respool's gateway with straight Redis and with
// twemproxy, and go-redis over respool's dialer in memory with go-redis plain.
// It says which of the gateway's targets hold.
//
// All processes are started for the purpose on free ports of 127.0.0.1 and are
// ended with it. Within a round each subject is measured in turn; ratios are
// taken within the round, so that a machine that slows down meets both sides.
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
	Case        []string      `help:"Run these cases alone (${cases})." placeholder:"NAME"`
	Rounds      int           `help:"Rounds of each subject, in turn." default:"5"`
	Time        time.Duration `help:"How long one run lasts; a calibration finds how many requests that takes." default:"2500ms"`
	Requests    int           `help:"Send so many GETs and so many SETs in each run of redis-benchmark, without a calibration." placeholder:"N"`
	JSON        string        `help:"Also write all figures into this file." placeholder:"FILE" type:"path"`
	Profile     string        `help:"After the rounds of each case run it once more and write our side's processor profile into this directory. Of the gateway that wants a --gateway-arg with {pprof}." placeholder:"DIR" type:"existingdir"`
	Gateway     string        `help:"Another gateway: a program that takes respool's flags, or a whole command with {redis} and {listen}, host:port each; straight or twemproxy to measure those in its place. Default: respool, built for the purpose." placeholder:"CMD"`
	GatewayArg  []string      `help:"Pass this on to the gateway; {pprof} stands for a free host:port." placeholder:"ARG" sep:"none"`
	Connections int           `help:"The gateway's max_connections." default:"8"`

	Worker string `help:"Drive go-redis once, as the comparison does in processes of its own." hidden:"" placeholder:"JOB"`
}

func main() {
	// Children die with the thread that started them: this one lasts.
	runtime.LockOSThread()
	var c cli
	parser := kong.Must(&c,
		kong.Name("gateway"),
		kong.Description("Compare respool's gateway with straight Redis and with twemproxy.\n\nExample: go run -C bench ./gateway --case c50 --rounds 3"),
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
		return fmt.Errorf("--rounds %d, --time %v, --requests %d, --connections %d: want 1 round, 50ms, no negative requests and 1 connection at least",
			c.Rounds, c.Time, c.Requests, c.Connections)
	}
	fetches := c.Profile != "" && slices.ContainsFunc(cases, func(x gatewayCase) bool { return x.Load == benchmarked })
	if fetches && !strings.Contains(c.Gateway+strings.Join(c.GatewayArg, " "), "{pprof}") {
		return errors.New("--profile without a place to fetch it from: want a --gateway-arg with {pprof}, such as --gateway-arg=--pprof={pprof}")
	}
	return nil
}
