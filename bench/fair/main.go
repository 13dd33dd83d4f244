// Command fair measures how long a small command of one client takes while other clients of the gateway ask for large
// replies, do not read them, or send long pipelines. The gateway runs in this process, the other clients in one of
// their own, and the server is a real redis-server.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"runtime/pprof"
	"slices"
	"sync"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/alecthomas/kong"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/gateway"
)

type cli struct {
	Connections []int         `help:"Values of max_connections." default:"1,2,8"`
	Load        []string      `help:"Loads to measure; see --help. Default: all." placeholder:"NAME"`
	Time        time.Duration `help:"Duration of one measurement." default:"4s"`
	Limit       time.Duration `help:"Fail if the p99 of a small GET exceeds this time; 0: no limit." default:"0"`
	Profile     string        `help:"Write a processor profile to this file." type:"path"`
	Worker      string        `hidden:"" help:"Run the clients of a load against this address."`
}

func main() {
	var c cli
	kong.Parse(&c, kong.Name("fair"), kong.UsageOnError(),
		kong.Description("Measure a small command beside clients with large replies and long pipelines.\n\nLoads:\n"+describeLoads()+"\nExample: go run -C bench ./fair --load unread"))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := c.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "fair:", err)
		os.Exit(1)
	}
}

func (c *cli) run(ctx context.Context) (err error) {
	chosen, err := choose(c.Load)
	if err != nil {
		return err
	}
	if c.Worker != "" {
		work(&chosen[0], c.Worker)
		return nil
	}
	s, err := startServer(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	if c.Profile != "" {
		f, err := os.Create(c.Profile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	t := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "load\tmax_connections\tGET p50\tp99\tmax\tfirst GET of a connection p50\tp99\tmax\tMiB/s of the load")
	var worst time.Duration
	for _, l := range chosen {
		for _, n := range c.Connections {
			m, err := c.measure(ctx, s, l, n)
			if err != nil {
				return fmt.Errorf("%s with %d connections: %w", l.name, n, err)
			}
			worst = max(worst, m.small.at(0.99))
			fmt.Fprintf(t, "%s\t%d\t%s\t%s\t%.0f\n", l.name, n, m.small, m.first, m.rate)
			_ = t.Flush()
		}
	}
	if c.Limit > 0 && worst > c.Limit {
		return fmt.Errorf("the p99 of a small GET is %v: want %v at most", worst, c.Limit)
	}
	return nil
}

// times are the sorted durations of one measurement.
type times []time.Duration

func (t times) at(part float64) time.Duration {
	if len(t) == 0 {
		return 0
	}
	return t[min(int(part*float64(len(t))), len(t)-1)]
}

func (t times) String() string {
	round := func(d time.Duration) time.Duration { return d.Round(10 * time.Microsecond) }
	return fmt.Sprintf("%v\t%v\t%v", round(t.at(0.5)), round(t.at(0.99)), round(t.at(1)))
}

type measurement struct {
	small, first times
	rate         float64 // MiB per second that the clients of the load received
}

// measure runs a gateway, a load, and the clients that send small commands.
func (c *cli) measure(ctx context.Context, s *server, l load, connections int) (m measurement, err error) {
	opt, err := respool.ParseURL(fmt.Sprintf("redis://%s?max_connections=%d", s.addr, connections))
	if err != nil {
		return m, err
	}
	client, err := respool.New(opt)
	if err != nil {
		return m, err
	}
	defer client.Close(ctx)
	g, err := gateway.New(client.Engine(), gateway.Config{})
	if err != nil {
		return m, err
	}
	defer func() {
		now, cancel := context.WithCancel(ctx)
		cancel()
		_ = g.Shutdown(now)
	}()
	at, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return m, err
	}
	go g.Serve(at)
	addr := at.Addr().String()
	if err := ask(addr); err != nil { // the gateway is ready
		return m, err
	}
	end := make(chan struct{})
	var wg sync.WaitGroup
	var small, first prober
	small.start(&wg, end, func() (func() error, func(), error) { return stay(addr) })
	first.start(&wg, end, func() (func() error, func(), error) { return func() error { return ask(addr) }, func() {}, nil })
	w, err := startWorker(ctx, &l, addr)
	if err != nil {
		close(end)
		return m, err
	}
	began := time.Now()
	select {
	case <-time.After(c.Time):
	case <-ctx.Done():
	}
	close(end)
	took := time.Since(began).Seconds()
	bytes, err := w.stop()
	m.rate = float64(bytes) / (1 << 20) / took
	wg.Wait()
	m.small, m.first = small.all, first.all
	slices.Sort(m.small)
	slices.Sort(m.first)
	return m, errors.Join(err, small.err, first.err, ctx.Err())
}

const replyLimit = time.Minute

// ask sends the small command on a new connection.
func ask(addr string) error {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	return askOn(conn, bufio.NewReader(conn))
}

func askOn(conn net.Conn, in *bufio.Reader) error {
	_ = conn.SetDeadline(time.Now().Add(replyLimit))
	if _, err := conn.Write(smallGet); err != nil {
		return err
	}
	got := make([]byte, len(smallReply))
	if _, err := io.ReadFull(in, got); err != nil {
		return err
	}
	if string(got) != smallReply {
		return fmt.Errorf("GET returned %q", got)
	}
	return nil
}

// prober sends the small command from many clients in turn, each at fixed times.
type prober struct {
	mu  sync.Mutex
	all times
	err error
}

const (
	probers    = 16
	probeEvery = 160 * time.Millisecond // of each
)

// start starts the clients. connect makes a client, and returns what it does each time.
func (p *prober) start(wg *sync.WaitGroup, end <-chan struct{}, connect func() (once func() error, done func(), err error)) {
	first := time.Now()
	for i := range probers {
		wg.Go(func() {
			once, done, err := connect()
			if err == nil {
				defer done()
				err = p.repeat(end, first.Add(time.Duration(i)*probeEvery/probers), once)
			}
			if err != nil {
				p.mu.Lock()
				p.err = err
				p.mu.Unlock()
			}
		})
	}
}

// repeat calls once at fixed times. A call that begins late, because earlier ones took long, counts from the time at which it
// should have begun: otherwise a long wait would hide the others that it caused.
func (p *prober) repeat(end <-chan struct{}, next time.Time, once func() error) error {
	for ; ; next = next.Add(probeEvery) {
		select {
		case <-end:
			return nil
		case <-time.After(time.Until(next)):
		}
		if err := once(); err != nil {
			return err
		}
		took := time.Since(next)
		p.mu.Lock()
		p.all = append(p.all, took)
		p.mu.Unlock()
	}
}

// stay connects a client that stays.
func stay(addr string) (once func() error, done func(), err error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, nil, err
	}
	in := bufio.NewReader(conn)
	if err := askOn(conn, in); err != nil { // it is no new client any more
		return nil, nil, err
	}
	return func() error { return askOn(conn, in) }, func() { _ = conn.Close() }, nil
}
