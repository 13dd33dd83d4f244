//go:build unix

// Command reshard compares respool with the cluster clients of go-redis and rueidis while slots move. For each client it
// starts a Redis Cluster of three primaries, runs callers of ten kinds, and moves slots from one primary to another and back.
// It prints what the callers of each client saw.
//
// The server is redis-server on the PATH, or the one that REDIS_SERVER names.
package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/alecthomas/kong"

	"github.com/seed-2b0d76a6/respool/internal/testkit/clusterload"
	"github.com/seed-2b0d76a6/respool/internal/testkit/clustertest"
)

type cli struct {
	Slots          int      `help:"Slots that move, and move back; 5000 at most." default:"4000"`
	Callers        int      `help:"Callers; ten kinds share them." default:"200"`
	MaxConnections int      `help:"Connections to each node that each client may open; for rueidis, those of transactions and blocking commands." default:"6"`
	Total          int      `help:"Connections to all nodes together that respool may open." default:"16"`
	Client         []string `help:"Run only these clients: respool, go-redis, rueidis." placeholder:"NAME"`
	Verbose        bool     `help:"Print a table of the kinds of callers, and the errors, of each client."`
}

// subject is a client under comparison.
type subject struct {
	name string
	open func(ctx context.Context, addrs []string, c *cli) (clusterload.Client, error)
}

// outcome is what the callers of one client saw.
type outcome struct {
	name           string
	report         *clusterload.Report
	perNode, total int // the most sockets
	moving         time.Duration
}

// together is how many slots move at the same time.
const together = 10

func main() {
	var c cli
	kong.Parse(&c, kong.Name("reshard"), kong.Description("Compare cluster clients while slots move.\n\nExample: go run -C bench ./reshard --slots 400 --callers 50"))
	t := &run{}
	defer t.end()
	if err := c.run(t); err != nil {
		t.end()
		fmt.Fprintln(os.Stderr, "reshard:", err)
		os.Exit(1)
	}
}

func (c *cli) run(t *run) error {
	var outcomes []outcome
	for _, s := range subjects {
		if len(c.Client) > 0 && !slices.Contains(c.Client, s.name) {
			continue
		}
		got, err := c.measure(t, s)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		outcomes = append(outcomes, got)
		if c.Verbose {
			fmt.Printf("%s\n%s\n", s.name, got.report)
		}
	}
	if len(outcomes) == 0 {
		return fmt.Errorf("clients %v: none of them is known", c.Client)
	}
	return table(outcomes)
}

func (c *cli) measure(t *run, s subject) (outcome, error) {
	ctx := context.Background()
	cluster := clustertest.Start(t, clustertest.Config{Replicas: -1, NodeTimeout: 15 * time.Second})
	client, err := s.open(ctx, clustertest.Addrs(cluster.Primaries()), c)
	if err != nil {
		return outcome{}, err
	}
	var slots []int
	for slot := range min(c.Slots, 5000) {
		slots = append(slots, slot)
	}
	watch := cluster.Watch()
	load, err := clusterload.Start(ctx, client, clusterload.Config{Callers: c.Callers, Slots: slots, Timeout: 20 * time.Second})
	if err != nil {
		return outcome{}, err
	}
	began, from, to := time.Now(), cluster.Owner(0), cluster.Owner(clustertest.Slots-1)
	for range 2 {
		for i := 0; i < len(slots); i += together {
			load.At(i)
			cluster.MoveTogether(from, to, slots[i:min(i+together, len(slots))]...)
		}
		from, to = to, from
	}
	got := outcome{name: s.name, moving: time.Since(began)}
	got.report = load.Stop(ctx)
	watch.Stop()
	client.Close()
	for _, n := range cluster.Nodes() {
		got.perNode = max(got.perNode, watch.PeakOf(n))
		n.Stop()
	}
	got.total = watch.Peak()
	return got, t.failure()
}

// table prints a table of all clients, and their errors by kind.
func table(outcomes []outcome) error {
	out := tabwriter.NewWriter(os.Stdout, 2, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(out, "client\tcalls\terrors\tlost\tdoubled\tout of order\tmessages missed, reported\tsockets to a node\tsockets\ttime\t")
	for _, o := range outcomes {
		all := o.report.Total()
		fmt.Fprintf(out, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%v\t\n", o.name, all.Calls, all.Errored(), all.Lost, all.Doubled, all.Disordered,
			all.Missed, o.perNode, o.total, o.moving.Round(time.Second))
	}
	if err := out.Flush(); err != nil {
		return err
	}
	for _, o := range outcomes {
		for _, k := range o.report.Kinds {
			if k.OK() {
				continue
			}
			fmt.Printf("%s, %s: %d errors, %d lost, %d doubled, %d out of order\n", o.name, k.Name, k.Errored(), k.Lost, k.Doubled, k.Disordered)
			texts := slices.SortedFunc(maps.Keys(k.Errors), func(a, b string) int { return int(k.Errors[b] - k.Errors[a]) })
			for _, text := range texts[:min(len(texts), 3)] {
				fmt.Printf("  %d times: %s\n", k.Errors[text], strings.TrimSpace(text))
			}
		}
	}
	return nil
}
