// Command bench compares respool with other Redis clients of Go, in turn on one real redis-server,
// and reports which of respool's targets are met. Each measurement runs in its own process, so that
// processor time and allocations belong to one client. The figures of a client in a case are the
// medians of its rounds.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
)

type cli struct {
	Case    []string      `help:"Run only these cases (${cases})." placeholder:"NAME"`
	Client  []string      `help:"Run only these clients (${clients})." placeholder:"NAME"`
	Rounds  int           `help:"Rounds of each client, in turn." default:"5"`
	Time    time.Duration `help:"Duration of one measurement, after a warm-up of a fifth of it." default:"700ms"`
	Addr    string        `help:"Use this server instead of starting one. Its keys under bench: are overwritten." placeholder:"HOST:PORT"`
	JSON    bool          `help:"Print a JSON line for each client of each case."`
	Out     string        `help:"Also write bench.json and bench.svg into this directory." placeholder:"DIR" type:"existingdir"`
	From    string        `help:"Report on the bench.json of an earlier run, without measurements." placeholder:"FILE" type:"existingfile"`
	Profile string        `help:"Directory for processor profiles, one for each measurement." placeholder:"DIR" type:"existingdir"`

	Worker string `help:"Run one measurement, as the comparison does in separate processes." hidden:"" placeholder:"JOB"`
}

func main() {
	var c cli
	parser := kong.Must(&c,
		kong.Name("bench"),
		kong.Description("Compare respool with other Redis clients on one server.\n\nExample: go run -C bench . --case callers-64 --rounds 3"),
		kong.Vars{"cases": caseNames(), "clients": clientNames()},
		kong.UsageOnError(),
	)
	_, err := parser.Parse(os.Args[1:])
	parser.FatalIfErrorf(err)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if c.Worker != "" {
		err = work(ctx, c.Worker)
	} else {
		err = c.compare(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// compare runs the cases and reports.
func (c *cli) compare(ctx context.Context) error {
	cases, err := selectCases(c.Case)
	if err != nil {
		return err
	}
	if err := checkClients(c.Client); err != nil {
		return err
	}
	if c.Rounds < 1 || c.Time < 50*time.Millisecond {
		return fmt.Errorf("--rounds %d, --time %v: want at least 1 round and 50ms", c.Rounds, c.Time)
	}
	if c.From != "" {
		report, err := readReport(c.From)
		if err != nil {
			return err
		}
		return c.write(report)
	}
	srv, err := openServer(ctx, c.Addr)
	if err != nil {
		return err
	}
	defer srv.close()
	r := &runner{server: srv, rounds: c.Rounds, time: c.Time, only: c.Client, profiles: c.Profile, progress: newProgress(os.Stderr)}
	results, err := r.run(ctx, cases)
	if err != nil {
		return err
	}
	return c.write(makeReport(srv.version, c.Rounds, c.Time, cases, results))
}

// write prints the report and writes the requested files.
func (c *cli) write(report *report) error {
	if c.JSON {
		if err := report.writeLines(os.Stdout); err != nil {
			return err
		}
	} else {
		report.writeTable(os.Stdout)
	}
	if c.Out == "" {
		return nil
	}
	if err := report.writeFile(filepath.Join(c.Out, "bench.json")); err != nil {
		return err
	}
	return report.writeChart(filepath.Join(c.Out, "bench.svg"))
}
