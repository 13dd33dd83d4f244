package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"text/tabwriter"
	"time"

	"github.com/seed-2b0d76a6/respool"
)

type demoCmd struct {
	credentialsFlag

	URL            string        `help:"Run on this server instead of an embedded one. Its keys get a prefix of their own and are removed."`
	Callers        int           `default:"2000" help:"Callers at a time."`
	Duration       time.Duration `default:"3s" help:"How long each side works."`
	MaxConnections int           `default:"4" help:"respool's bound."`
	JSON           bool          `help:"Print one JSON object."`
}

func (demoCmd) Help() string {
	return `Callers GET and SET values of 64 bytes, four to one, and check each reply: once as
asynchronous clients do it without a limit (a connection for each command in
flight), once through respool. Every number is measured in the run.

Examples:
  respool demo
  respool demo --callers 5000 --max-connections 8
  respool demo --url redis://localhost:6379 --json`
}

// sideReport is what one side did.
type sideReport struct {
	Side   string  `json:"side"`
	Ops    int64   `json:"operations"`
	OpsPS  float64 `json:"ops_per_s"`
	P50US  int64   `json:"p50_us"`
	P99US  int64   `json:"p99_us"`
	Peak   int64   `json:"peak_sockets"`
	Opened int64   `json:"connections_opened"`
	Errors int64   `json:"errors"`
	First  string  `json:"first_error,omitempty"`
}

type demoReport struct {
	Server         string       `json:"server"`
	Callers        int          `json:"callers"`
	Seconds        float64      `json:"seconds"`
	MaxConnections int          `json:"max_connections"`
	Sides          []sideReport `json:"sides"`
}

func (d *demoCmd) check() error {
	switch {
	case d.Callers < 1:
		return fmt.Errorf("--callers is %d: want 1 or more", d.Callers)
	case d.MaxConnections < 1:
		return fmt.Errorf("--max-connections is %d: want 1 or more", d.MaxConnections)
	case d.Duration < 100*time.Millisecond || d.Duration > 10*time.Minute:
		return fmt.Errorf("--duration is %v: want 100ms to 10m", d.Duration)
	}
	return nil
}

func (d *demoCmd) Run(ctx context.Context) error {
	if err := d.check(); err != nil {
		return err
	}
	opt, j, server, err := d.server(ctx)
	if err != nil {
		return err
	}
	if server != nil {
		defer server.close()
	}
	defer j.close()
	w := newWorkload(fmt.Sprintf("respool:demo:%08x:", rand.Uint32()))
	if err := w.fill(ctx, opt); err != nil {
		return err
	}
	defer w.remove(opt)
	report := demoReport{Callers: d.Callers, Seconds: d.Duration.Seconds(), MaxConnections: d.MaxConnections, Server: "embedded"}
	if server == nil {
		report.Server = opt.Addr
	}
	for _, side := range []func(context.Context, respool.Options, *workload, judge) (sideReport, error){d.without, d.through} {
		s, err := side(ctx, opt, w, j)
		if err != nil {
			return err
		}
		report.Sides = append(report.Sides, s)
	}
	if d.JSON {
		return printJSON(report)
	}
	return report.print()
}

// server gives the server to work with and who counts its sockets.
func (d *demoCmd) server(ctx context.Context) (respool.Options, judge, *embedded, error) {
	if d.URL == "" {
		e, err := startEmbedded()
		if err != nil {
			return respool.Options{}, nil, nil, err
		}
		opt, err := respool.ParseURL("redis://" + e.addr())
		return opt, &listenerJudge{e: e}, e, err
	}
	opt, err := d.options(d.URL)
	if err == nil && opt.Credentials != nil { // the side without a limit dials by itself
		var c respool.Credentials
		c, err = opt.Credentials(ctx)
		opt.Username, opt.Password, opt.Credentials = c.Username, c.Password, nil
	}
	if err != nil {
		return opt, nil, nil, err
	}
	j, err := newInfoJudge(opt)
	return opt, j, nil, err
}

// without works as asynchronous clients do, with as many connections as
// there are commands in flight.
func (d *demoCmd) without(ctx context.Context, opt respool.Options, w *workload, j judge) (sideReport, error) {
	opt.ConnectTimeout, opt.SocketTimeout = 30*time.Second, 30*time.Second
	if opt.Network == "" {
		opt.Network = "tcp"
	}
	u := &unbounded{opt: opt}
	defer u.close()
	return d.measure(ctx, "without a limit", unboundedStore{u}, w, j)
}

func (d *demoCmd) through(ctx context.Context, opt respool.Options, w *workload, j judge) (sideReport, error) {
	opt.MaxConnections, opt.MinIdle = d.MaxConnections, 0
	opt.Lanes = min(opt.Lanes, d.MaxConnections)
	c, err := respool.New(opt)
	if err != nil {
		return sideReport{}, err
	}
	defer closeClient(c)
	return d.measure(ctx, "through respool", respoolStore{c}, w, j)
}

func closeClient(c *respool.Client) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_ = c.Close(ctx)
}

func (d *demoCmd) measure(ctx context.Context, title string, s store, w *workload, j judge) (sideReport, error) {
	if err := j.begin(ctx); err != nil {
		return sideReport{}, err
	}
	bar := newProgress(title, d.Duration)
	out := w.drive(ctx, s, d.Callers, d.Duration, bar.update)
	bar.clear()
	peak, opened, err := j.end(ctx)
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return sideReport{}, err
	}
	r := sideReport{Side: title, Ops: out.ops, OpsPS: float64(out.ops) / out.took.Seconds(),
		P50US: out.hist.ValueAtQuantile(50), P99US: out.hist.ValueAtQuantile(99),
		Peak: peak, Opened: opened, Errors: out.errors}
	if out.firstErr != nil {
		r.First = out.firstErr.Error()
	}
	return r, nil
}

// fill gives every key its value.
func (w *workload) fill(ctx context.Context, opt respool.Options) error {
	return w.withClient(opt, func(c *respool.Client) error {
		p := c.Pipeline()
		for i, key := range w.keys {
			p.Do("SET", key, w.values[i])
		}
		replies, err := p.Exec(ctx)
		for _, r := range replies {
			if err == nil {
				err = r.Err()
			}
		}
		return err
	})
}

// remove takes the keys away again, also after an interruption.
func (w *workload) remove(opt respool.Options) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err := w.withClient(opt, func(c *respool.Client) error {
		p := c.Pipeline()
		for _, key := range w.keys {
			p.Do("DEL", key)
		}
		_, err := p.Exec(ctx)
		return err
	})
	if err != nil {
		fmt.Fprintf(os.Stderr, "respool: the keys %s... could not be removed: %v\n", w.keys[0], err)
	}
}

func (w *workload) withClient(opt respool.Options, fn func(*respool.Client) error) error {
	opt.MaxConnections, opt.Lanes, opt.MinIdle = 1, 1, 0
	c, err := respool.New(opt)
	if err != nil {
		return err
	}
	defer closeClient(c)
	return fn(c)
}

func (r *demoReport) print() error {
	a, b := r.Sides[0], r.Sides[1]
	fmt.Println(r.verdict())
	fmt.Printf("\n%d callers on %s for %gs a side; GET and SET of 64 bytes, 4 to 1, each reply checked\n\n", r.Callers, r.Server, r.Seconds)
	t := tabwriter.NewWriter(os.Stdout, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "\t%s\t%s\t\n", a.Side, b.Side)
	fmt.Fprintf(t, "operations a second\t%.0f\t%.0f\t\n", a.OpsPS, b.OpsPS)
	fmt.Fprintf(t, "p50\t%s\t%s\t\n", millis(a.P50US), millis(b.P50US))
	fmt.Fprintf(t, "p99\t%s\t%s\t\n", millis(a.P99US), millis(b.P99US))
	fmt.Fprintf(t, "peak sockets\t%d\t%d\t\n", a.Peak, b.Peak)
	fmt.Fprintf(t, "connections opened\t%d\t%d\t\n", a.Opened, b.Opened)
	fmt.Fprintf(t, "errors\t%d\t%d\t\n", a.Errors, b.Errors)
	if err := t.Flush(); err != nil {
		return err
	}
	for _, s := range r.Sides {
		if s.First != "" {
			fmt.Printf("\nfirst error %s: %s\n", s.Side, s.First)
		}
	}
	return nil
}

func (r *demoReport) verdict() string {
	a, b := r.Sides[0], r.Sides[1]
	if a.OpsPS == 0 {
		return fmt.Sprintf("respool: %d sockets at peak instead of %d, and %.0f operations a second where there were none.", b.Peak, a.Peak, b.OpsPS)
	}
	return fmt.Sprintf("respool: %d sockets at peak instead of %d, at %.1f times the operations a second.", b.Peak, a.Peak, b.OpsPS/a.OpsPS)
}

func millis(us int64) string { return fmt.Sprintf("%.2f ms", float64(us)/1000) }
