// Command loops measures the gateway by its number of event loops, against a server that costs almost nothing: it
// answers each command from constant bytes, in the same process. So the gateway's own work decides, up to the number of
// cores. The clients, the server and the gateway share the cores; with pipelines the clients cost little. The command
// also measures what a lock and a counter cost if several cores use them.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/alecthomas/kong"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/gateway"
)

type cli struct {
	Loops    []int         `help:"Numbers of loops to compare." default:"1,2,4"`
	Clients  int           `help:"Number of clients." default:"64"`
	Pipeline int           `help:"Commands of each client in flight." default:"16"`
	Drivers  int           `help:"Goroutines that send for the clients. Default: one for each core." default:"0"`
	Lanes    int           `help:"Connections to the server." default:"8"`
	Rounds   int           `help:"Rounds of each number, in turn." default:"7"`
	Time     time.Duration `help:"Duration of one run." default:"1s"`
}

func main() {
	var c cli
	kong.Parse(&c, kong.Name("loops"), kong.UsageOnError(),
		kong.Description("Measure the gateway by its number of event loops, against a server that costs almost nothing.\n\nExample: go run -C bench ./loops --loops 1,2"))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := c.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "loops:", err)
		os.Exit(1)
	}
}

// run measures each number of loops in turn, and prints the medians.
func (c *cli) run(ctx context.Context) error {
	if c.Clients < 1 || c.Pipeline < 1 || c.Lanes < 1 || c.Rounds < 1 || c.Drivers < 0 || c.Time <= 0 {
		return errors.New("clients, pipeline, lanes, rounds and time: want positive values")
	}
	if c.Drivers == 0 {
		c.Drivers = runtime.GOMAXPROCS(0)
	}
	server, err := startFake()
	if err != nil {
		return err
	}
	defer server.Close()
	samples := make([][]sample, len(c.Loops))
	for round := range c.Rounds {
		for i := range c.Loops {
			i = (i + round) % len(c.Loops)
			s, err := c.measure(ctx, server.Addr().String(), c.Loops[i])
			if err != nil {
				return fmt.Errorf("%d loops: %w", c.Loops[i], err)
			}
			samples[i] = append(samples[i], s)
		}
	}
	fmt.Printf("%d clients, pipelines of %d, %d connections to the server, %d cores, medians of %d rounds\n\n",
		c.Clients, c.Pipeline, c.Lanes, runtime.GOMAXPROCS(0), c.Rounds)
	t := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "loops\tcommands per second\tratio to the first\tprocessor us per command")
	for i, n := range c.Loops {
		fmt.Fprintf(t, "%d\t%.0f\t%.2f\t%.2f\n", n, median(samples[i], func(j int) float64 { return samples[i][j].rate }),
			median(samples[i], func(j int) float64 { return samples[i][j].rate / samples[0][j].rate }),
			median(samples[i], func(j int) float64 { return samples[i][j].cost }))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	return printLocks(os.Stdout)
}

// sample is the outcome of one run.
type sample struct {
	rate float64 // commands per second
	cost float64 // microseconds of processor time per command, of the whole process
}

func median(all []sample, of func(i int) float64) float64 {
	figures := make([]float64, len(all))
	for i := range all {
		figures[i] = of(i)
	}
	slices.Sort(figures)
	return figures[len(figures)/2]
}

// measure runs a gateway with a number of loops, and clients that keep their pipelines full.
func (c *cli) measure(ctx context.Context, server string, loops int) (sample, error) {
	opt, err := respool.ParseURL(fmt.Sprintf("redis://%s?protocol=2&max_connections=%d&lanes=%d", server, c.Lanes, c.Lanes))
	if err != nil {
		return sample{}, err
	}
	client, err := respool.New(opt)
	if err != nil {
		return sample{}, err
	}
	defer client.Close(ctx)
	g, err := gateway.New(client.Engine(), gateway.Config{Loops: loops})
	if err != nil {
		return sample{}, err
	}
	defer g.Shutdown(ctx)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return sample{}, err
	}
	go g.Serve(l)
	return c.load(ctx, l.Addr().String())
}

// load sends from all clients for the time of a run, after a tenth of it as a warm-up.
func (c *cli) load(ctx context.Context, addr string) (sample, error) {
	begin, end := make(chan struct{}), make(chan struct{})
	counts, failures := make(chan int, c.Drivers), make(chan error, c.Drivers)
	for d := range c.Drivers {
		go func() {
			n, err := c.drive(addr, (c.Clients-d+c.Drivers-1)/c.Drivers, begin, end)
			counts <- n
			failures <- err
		}()
	}
	wait := func(d time.Duration) {
		select {
		case <-time.After(d):
		case <-ctx.Done():
		}
	}
	wait(c.Time / 10)
	used, began := processorTime(), time.Now()
	close(begin)
	wait(c.Time)
	used, took := processorTime()-used, time.Since(began)
	close(end)
	total := 0
	var err error
	for range c.Drivers {
		total += <-counts
		err = errors.Join(err, <-failures)
	}
	if err = errors.Join(err, ctx.Err()); err != nil || total == 0 {
		return sample{}, errors.Join(err, errors.New("no run was measured"))
	}
	return sample{rate: float64(total) / took.Seconds(), cost: float64(used.Microseconds()) / float64(total)}, nil
}

// drive serves some clients: it writes the pipelines of all, and then reads the replies of all. It counts the commands
// between begin and end.
func (c *cli) drive(addr string, clients int, begin, end <-chan struct{}) (count int, err error) {
	request := bytes.Repeat(get, c.Pipeline)
	replies := make([]byte, c.Pipeline*len(reply))
	conns := make([]net.Conn, clients)
	for i := range conns {
		if conns[i], err = net.Dial("tcp", addr); err != nil {
			return 0, err
		}
		defer conns[i].Close()
	}
	for {
		for _, conn := range conns {
			if _, err := conn.Write(request); err != nil {
				return 0, err
			}
		}
		for _, conn := range conns {
			if _, err := io.ReadFull(conn, replies); err != nil {
				return 0, err
			}
			if !bytes.HasPrefix(replies, reply) {
				return 0, fmt.Errorf("the gateway replied %.100q", replies)
			}
		}
		select {
		case <-end:
			return count, nil
		default:
		}
		select {
		case <-begin:
			count += clients * c.Pipeline
		default:
		}
	}
}

// processorTime returns the processor time of this process.
func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
