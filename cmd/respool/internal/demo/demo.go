// Package demo compares callers without a connection limit with callers through
// respool. It is not a benchmark of clients: that is the module bench. Compare
// waits for all goroutines of the package.
package demo

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/connect"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/embedded"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/progress"
)

// Config configures a comparison.
type Config struct {
	Server         *respool.Options // nil: an embedded server
	Callers        int
	Duration       time.Duration // of each side
	MaxConnections int           // of the side with respool
}

// Compare runs both sides, one after the other.
func Compare(ctx context.Context, d Config) (*Report, error) {
	w := newWorkload(fmt.Sprintf("respool:demo:%08x:", rand.Uint32()))
	opt, counter, server, err := d.server(ctx, w)
	if err != nil {
		return nil, err
	}
	if server != nil {
		defer server.Close()
	}
	defer counter.close()
	if err := w.fill(ctx, opt); err != nil {
		return nil, err
	}
	defer w.remove(opt)
	report := &Report{Callers: d.Callers, Seconds: d.Duration.Seconds(), MaxConnections: d.MaxConnections, Server: "embedded"}
	if server == nil {
		report.Server = connect.Place(&opt)
	}
	for _, side := range []func(context.Context, respool.Options, *workload, socketCounter) (Side, error){d.without, d.through} {
		s, err := side(ctx, opt, w, counter)
		if err != nil {
			return nil, err
		}
		report.Sides = append(report.Sides, s)
	}
	return report, nil
}

// server returns the server to work with and the counter of its sockets. Of a cluster, it tells the workload the node of
// each key.
func (d *Config) server(ctx context.Context, w *workload) (respool.Options, socketCounter, *embedded.Server, error) {
	if d.Server == nil {
		e, err := embedded.Start()
		if err != nil {
			return respool.Options{}, nil, nil, err
		}
		opt, err := respool.ParseURL("redis://" + e.Addr())
		return opt, &listenerCounter{server: e}, e, err
	}
	opt := *d.Server
	if opt.Credentials != nil { // the side without a limit opens its own connections
		c, err := opt.Credentials(ctx)
		if err != nil {
			return opt, nil, nil, err
		}
		opt.Username, opt.Password, opt.Credentials = c.Username, c.Password, nil
	}
	nodes := []respool.Options{opt}
	if opt.Cluster != nil {
		var err error
		if nodes, err = w.locate(ctx, opt); err != nil {
			return opt, nil, nil, err
		}
	}
	c, err := newInfoCounter(nodes)
	return opt, c, nil, err
}

// without works as asynchronous clients do: with one connection for each command in flight.
func (d *Config) without(ctx context.Context, opt respool.Options, w *workload, counter socketCounter) (Side, error) {
	opt.ConnectTimeout, opt.SocketTimeout = 30*time.Second, 30*time.Second
	if opt.Network == "" {
		opt.Network = "tcp"
	}
	u := newUnboundedStore(opt, w)
	defer u.close()
	return d.measure(ctx, "without a limit", u, w, counter)
}

func (d *Config) through(ctx context.Context, opt respool.Options, w *workload, counter socketCounter) (Side, error) {
	opt.MaxConnections, opt.MinIdle = d.MaxConnections, 0
	opt.Lanes = min(opt.Lanes, d.MaxConnections)
	c, err := respool.New(opt)
	if err != nil {
		return Side{}, err
	}
	defer connect.Close(c)
	return d.measure(ctx, "through respool", respoolStore{c}, w, counter)
}

func (d *Config) measure(ctx context.Context, title string, s store, w *workload, counter socketCounter) (Side, error) {
	if err := counter.start(ctx); err != nil {
		return Side{}, err
	}
	bar := progress.Start(title, d.Duration)
	out := w.drive(ctx, s, d.Callers, d.Duration, bar.Update)
	bar.Clear()
	peak, opened, err := counter.stop(ctx)
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return Side{}, err
	}
	r := Side{Side: title, Ops: out.ops, OpsPS: float64(out.ops) / out.took.Seconds(),
		P50US: out.hist.ValueAtQuantile(50), P99US: out.hist.ValueAtQuantile(99),
		Peak: peak, Opened: opened, Errors: out.errors}
	if out.firstErr != nil {
		r.First = out.firstErr.Error()
	}
	return r, nil
}
