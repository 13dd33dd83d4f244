// Command cluster compares respool with the cluster clients of go-redis and rueidis on a running Redis
// Cluster. It writes random keys of all slots. Within a round it measures each client in turn, so
// that a machine that slows down affects all of them.
package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/alecthomas/kong"
)

type cli struct {
	Addrs   string        `arg:"" help:"host:port of nodes, with commas between."`
	Callers []int         `help:"Concurrent callers of each case." default:"64,1024"`
	Batch   int           `help:"Commands in each pipeline of the pipeline case; 8 callers. 0: without this case." default:"100"`
	Rounds  int           `help:"Rounds of each client, in turn." default:"5"`
	Time    time.Duration `help:"Duration of one run." default:"1s"`
	Client  []string      `help:"Run only these clients." placeholder:"NAME"`
}

// subject is a client under comparison.
type subject struct {
	name string
	open func(ctx context.Context, addrs []string) (client, error)
}

// client sends commands of any number of goroutines.
type client interface {
	// get and set run one command. pipeline runs SET of all keys, as one batch.
	get(ctx context.Context, key string) error
	set(ctx context.Context, key, value string) error
	pipeline(ctx context.Context, keys []string, value string) error
	close()
}

// outcome is the result of one run.
type outcome struct {
	perSecond float64
	cpu       float64 // microseconds of this process for each operation
}

const keys = 100_000

var value = strings.Repeat("x", 64)

func main() {
	var c cli
	kong.Parse(&c, kong.Name("cluster"), kong.Description("Compare clients on a Redis Cluster.\n\nExample: go run -C bench ./cluster 127.0.0.1:7001,127.0.0.1:7002"))
	if err := c.run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

func (c *cli) run(ctx context.Context) error {
	var chosen []subject
	for _, s := range subjects {
		if len(c.Client) == 0 || slices.Contains(c.Client, s.name) {
			chosen = append(chosen, s)
		}
	}
	if len(chosen) == 0 {
		return fmt.Errorf("clients %v: none of them is known", c.Client)
	}
	out := tabwriter.NewWriter(os.Stdout, 2, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(out, "case\tclient\toperations a second\tus of CPU each\t")
	cases := slices.Clone(c.Callers)
	if c.Batch > 0 {
		cases = append(cases, 0)
	}
	for _, callers := range cases {
		results := map[string][]outcome{}
		for range c.Rounds {
			rand.Shuffle(len(chosen), func(i, j int) { chosen[i], chosen[j] = chosen[j], chosen[i] })
			for _, s := range chosen {
				got, err := c.measure(ctx, s, callers)
				if err != nil {
					return fmt.Errorf("%s: %w", s.name, err)
				}
				results[s.name] = append(results[s.name], got)
			}
		}
		name := fmt.Sprintf("callers-%d", callers)
		if callers == 0 {
			name = fmt.Sprintf("pipelines-%d", c.Batch)
		}
		for _, s := range subjects {
			if list := results[s.name]; list != nil {
				fmt.Fprintf(out, "%s\t%s\t%.0f\t%.2f\t\n", name, s.name, median(list, func(o outcome) float64 { return o.perSecond }),
					median(list, func(o outcome) float64 { return o.cpu }))
			}
		}
	}
	return out.Flush()
}

func median(list []outcome, of func(outcome) float64) float64 {
	var values []float64
	for _, o := range list {
		values = append(values, of(o))
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// measure runs one client. callers 0: pipelines.
func (c *cli) measure(ctx context.Context, s subject, callers int) (outcome, error) {
	cl, err := s.open(ctx, strings.Split(c.Addrs, ","))
	if err != nil {
		return outcome{}, err
	}
	defer cl.close()
	if _, err := c.load(ctx, cl, callers, c.Time/5); err != nil { // opens the connections
		return outcome{}, err
	}
	before := cpuTime()
	began := time.Now()
	n, err := c.load(ctx, cl, callers, c.Time)
	if n == 0 && err == nil {
		err = errors.New("no operation ended")
	}
	return outcome{float64(n) / time.Since(began).Seconds(), float64((cpuTime() - before).Microseconds()) / float64(n)}, err
}

// load sends commands for some time, and returns their number.
func (c *cli) load(ctx context.Context, cl client, callers int, d time.Duration) (int64, error) {
	batch := 1
	if callers == 0 {
		callers, batch = 8, c.Batch
	}
	var done atomic.Int64
	var failed atomic.Pointer[error]
	var running sync.WaitGroup
	end := time.Now().Add(d)
	for i := range callers {
		running.Go(func() {
			r := rand.New(rand.NewPCG(uint64(i), 1))
			names := make([]string, batch)
			for n := 0; failed.Load() == nil && (n%16 != 0 || time.Now().Before(end)); n++ {
				for j := range names {
					names[j] = fmt.Sprintf("key:%d", r.IntN(keys))
				}
				if err := send(ctx, cl, names, n); err != nil {
					failed.Store(&err)
					return
				}
				done.Add(int64(batch))
			}
		})
	}
	running.Wait()
	if err := failed.Load(); err != nil {
		return 0, *err
	}
	return done.Load(), nil
}

// send sends a pipeline, or a GET or SET, 4 to 1.
func send(ctx context.Context, cl client, names []string, n int) error {
	switch {
	case len(names) > 1:
		return cl.pipeline(ctx, names, value)
	case n%5 == 0:
		return cl.set(ctx, names[0], value)
	}
	return cl.get(ctx, names[0])
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
