// Command limits measures how a user with a rate limit affects the other clients of a gateway. The others send at a fixed
// pace, far below the capacity. Rounds of three loads alternate: the others alone; with greedy clients of a user who is
// limited; and with as many clients of a user without a limit who send at the same rate by themselves. So the third load
// shows what the extra commands cost, and the second one what the limit adds to that.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/alecthomas/kong"
)

type cli struct {
	Others     int           `help:"Connections of the other clients." default:"20"`
	Pace       int           `help:"Commands per second of the others together." default:"5000"`
	Clients    int           `help:"Connections of the user with a limit." default:"50"`
	Rate       int           `help:"Commands per second of this user." default:"1000"`
	Rounds     int           `help:"Rounds of each load, in turn." default:"9"`
	Time       time.Duration `help:"Duration of one run." default:"3s"`
	Confirm    time.Duration `help:"Duration of the run that measures the rate of the user." default:"10s"`
	RunGateway string        `hidden:"" help:"Be the gateway of this server."`
	RunUser    string        `hidden:"" help:"Be the clients of this user."`
	Addr       string        `hidden:"" help:"Address of the gateway, for RunUser."`
	Begin      time.Time     `hidden:"" help:"Begin of the run, for RunUser." format:"2006-01-02T15:04:05.999999999Z07:00"`
}

func main() {
	var c cli
	kong.Parse(&c, kong.Name("limits"), kong.UsageOnError(),
		kong.Description("Measure how a user with a rate limit affects the other clients of a gateway. It starts redis-server.\n\nExample: go run -C bench ./limits --rounds 3"))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	run := c.run
	switch {
	case c.RunGateway != "":
		run = c.serve
	case c.RunUser != "":
		run = c.beUser
	}
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "limits:", err)
		os.Exit(1)
	}
}

// loads are the loads in the order of the report.
var loads = []string{"alone", "with the limited user", "with paced clients instead"}

// run measures the loads in turn, and prints the medians.
func (c *cli) run(ctx context.Context) error {
	if c.Others < 1 || c.Pace < 1 || c.Clients < 1 || c.Rate < 1 || c.Rounds < 1 || c.Time <= 0 || c.Confirm <= 0 {
		return errors.New("want positive values")
	}
	g, err := c.start(ctx)
	if err != nil {
		return err
	}
	defer g.close()
	samples := make([][]sample, len(loads))
	for round := range c.Rounds {
		for i := range loads {
			i = (i + round) % len(loads)
			s, err := c.measure(ctx, g, i, c.Time)
			if err != nil {
				return fmt.Errorf("%s: %w", loads[i], err)
			}
			samples[i] = append(samples[i], s)
		}
	}
	long, err := c.measure(ctx, g, 1, c.Confirm)
	if err != nil {
		return err
	}
	fmt.Printf("%d connections send %d GET/s, %d connections of the user have %d/s, %d cores, medians of %d rounds of %v\n\n",
		c.Others, c.Pace, c.Clients, c.Rate, runtime.GOMAXPROCS(0), c.Rounds, c.Time)
	t := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "the others\tp50 us\tp99 us\tp99 to alone\tper second\tof the user\tprocessor of the gateway")
	for i, name := range loads {
		of := func(f func(s *sample) float64) float64 {
			return median(samples[i], func(j int) float64 { return f(&samples[i][j]) })
		}
		ratio := median(samples[i], func(j int) float64 { return float64(samples[i][j].p99) / float64(samples[0][j].p99) })
		fmt.Fprintf(t, "%s\t%.0f\t%.0f\t%.2f\t%.0f\t%.0f\t%.0f %%\n", name, of(func(s *sample) float64 { return micros(s.p50) }),
			of(func(s *sample) float64 { return micros(s.p99) }), ratio,
			of(func(s *sample) float64 { return s.rate }), of(func(s *sample) float64 { return s.extra }),
			of(func(s *sample) float64 { return 100 * s.cpu }))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Printf("\nthe limited user over %v: %.1f/s\n", c.Confirm, long.extra)
	return nil
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

func median(all []sample, of func(i int) float64) float64 {
	figures := make([]float64, len(all))
	for i := range all {
		figures[i] = of(i)
	}
	slices.Sort(figures)
	return figures[len(figures)/2]
}
