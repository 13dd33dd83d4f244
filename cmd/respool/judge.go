package main

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/seed-2b0d76a6/respool"
)

// judge tells how many sockets the server's side counts.
type judge interface {
	// begin starts to count afresh.
	begin(ctx context.Context) error
	// end gives the most sockets at a time and all that were opened since.
	end(ctx context.Context) (peak, opened int64, err error)
	close()
}

// listenerJudge asks the embedded server's listener.
type listenerJudge struct {
	e      *embedded
	before int64
}

func (j *listenerJudge) begin(ctx context.Context) error {
	// The other side's sockets must be gone.
	for j.e.open.Load() > 0 {
		if err := pause(ctx, time.Millisecond); err != nil {
			return err
		}
	}
	j.e.peak.Store(0)
	j.before = j.e.total.Load()
	return nil
}

func (j *listenerJudge) end(context.Context) (peak, opened int64, err error) {
	return j.e.peak.Load(), j.e.total.Load() - j.before, nil
}

func (j *listenerJudge) close() {}

// sampleEvery is the time between two looks at a real server.
const sampleEvery = 5 * time.Millisecond

// infoJudge asks a real server through INFO, on one connection kept for that.
// What was connected before does not count, nor does the judge itself.
type infoJudge struct {
	c           *respool.Client
	base, total int64
	peak        int64
	err         error
	stop        chan struct{}
	done        sync.WaitGroup
}

func newInfoJudge(opt respool.Options) (*infoJudge, error) {
	opt.MaxConnections, opt.Lanes, opt.MinIdle = 1, 1, 0
	opt.ClientName = "respool:demo:judge"
	c, err := respool.New(opt)
	if err != nil {
		return nil, err
	}
	return &infoJudge{c: c}, nil
}

func (j *infoJudge) ask(ctx context.Context) (clients, total int64, err error) {
	replies, err := j.c.Pipeline().Do("INFO", "clients").Do("INFO", "stats").Exec(ctx)
	if err != nil {
		return 0, 0, err
	}
	if clients, err = infoNumber(replies[0], "connected_clients"); err != nil {
		return 0, 0, err
	}
	total, err = infoNumber(replies[1], "total_connections_received")
	return clients, total, err
}

func infoNumber(r respool.Reply, field string) (int64, error) {
	text, err := r.Text()
	if err != nil {
		return 0, fmt.Errorf("ask the server for its connections: %w", err)
	}
	n, err := strconv.ParseInt(infoFields(text)[field], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("the server's INFO has no %s", field)
	}
	return n, nil
}

func (j *infoJudge) begin(ctx context.Context) error {
	if err := j.settle(ctx); err != nil {
		return err
	}
	j.peak, j.err, j.stop = 0, nil, make(chan struct{})
	j.done.Go(func() {
		for {
			select {
			case <-j.stop:
				return
			case <-time.After(sampleEvery):
			}
			n, _, err := j.ask(ctx)
			if err != nil {
				j.err = err
				continue
			}
			j.peak = max(j.peak, n-j.base)
		}
	})
	return nil
}

// settleLimit bounds the wait for the sockets of the side before to be gone.
const settleLimit = 10 * time.Second

// settle waits until the server counts no more connections than at first.
func (j *infoJudge) settle(ctx context.Context) error {
	for deadline := time.Now().Add(settleLimit); ; {
		n, total, err := j.ask(ctx)
		if err != nil {
			return err
		}
		j.total = total
		if j.base == 0 || n < j.base {
			j.base = n
		}
		if n <= j.base || time.Now().After(deadline) {
			return nil
		}
		if err := pause(ctx, sampleEvery); err != nil {
			return err
		}
	}
}

func (j *infoJudge) end(ctx context.Context) (peak, opened int64, err error) {
	close(j.stop)
	j.done.Wait()
	_, total, err := j.ask(ctx)
	if err == nil && j.peak == 0 {
		err = j.err
	}
	return j.peak, total - j.total, err
}

func (j *infoJudge) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = j.c.Close(ctx)
}

// pause waits for d or the end of ctx.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
