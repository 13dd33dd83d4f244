package demo

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/embedded"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/pause"
	"github.com/seed-2b0d76a6/respool/monitor"
)

// socketCounter counts the sockets that the server sees.
type socketCounter interface {
	// start resets the count.
	start(ctx context.Context) error
	// stop returns the peak number of sockets and the number of sockets opened since start.
	stop(ctx context.Context) (peak, opened int64, err error)
	close()
}

// listenerCounter reads the counter of the embedded server.
type listenerCounter struct {
	server *embedded.Server
	before int64
}

func (c *listenerCounter) start(ctx context.Context) error {
	// Wait until the sockets of the other side are closed.
	for c.server.Open.Load() > 0 {
		if err := pause.For(ctx, time.Millisecond); err != nil {
			return err
		}
	}
	c.server.Peak.Store(0)
	c.before = c.server.Total.Load()
	return nil
}

func (c *listenerCounter) stop(context.Context) (peak, opened int64, err error) {
	return c.server.Peak.Load(), c.server.Total.Load() - c.before, nil
}

func (c *listenerCounter) close() {}

// sampleEvery is the time between two samples of a real server.
const sampleEvery = 5 * time.Millisecond

// infoCounter samples INFO of real servers over one connection of its own to each, and adds up their numbers. It does not
// count these connections, nor those that were open before.
type infoCounter struct {
	clients      []*respool.Client
	base, total  int64
	peak         int64
	err          error
	stopSampling chan struct{}
	done         sync.WaitGroup
}

func newInfoCounter(servers []respool.Options) (*infoCounter, error) {
	counter := &infoCounter{}
	for _, opt := range servers {
		opt.MaxConnections, opt.Lanes, opt.MinIdle = 1, 1, 0
		opt.ClientName = "respool:demo:judge"
		c, err := respool.New(opt)
		if err != nil {
			counter.close()
			return nil, err
		}
		counter.clients = append(counter.clients, c)
	}
	return counter, nil
}

// ask returns the sums over all servers, which it asks at the same time.
func (c *infoCounter) ask(ctx context.Context) (clients, total int64, err error) {
	var mu sync.Mutex
	var asking sync.WaitGroup
	for _, one := range c.clients {
		asking.Go(func() {
			n, all, e := askOne(ctx, one)
			mu.Lock()
			defer mu.Unlock()
			clients, total, err = clients+n, total+all, cmp.Or(err, e)
		})
	}
	asking.Wait()
	return clients, total, err
}

func askOne(ctx context.Context, c *respool.Client) (clients, total int64, err error) {
	replies, err := c.Pipeline().Do("INFO", "clients").Do("INFO", "stats").Exec(ctx)
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
		return 0, fmt.Errorf("list the server's connections: %w", err)
	}
	n, ok := monitor.ParseInfo(text).Int(field)
	if !ok {
		return 0, fmt.Errorf("INFO of the server has no %s", field)
	}
	return n, nil
}

func (c *infoCounter) start(ctx context.Context) error {
	if err := c.waitForBaseline(ctx); err != nil {
		return err
	}
	c.peak, c.err, c.stopSampling = 0, nil, make(chan struct{})
	c.done.Go(func() {
		for {
			select {
			case <-c.stopSampling:
				return
			case <-time.After(sampleEvery):
			}
			n, _, err := c.ask(ctx)
			if err != nil {
				c.err = err
				continue
			}
			c.peak = max(c.peak, n-c.base)
		}
	})
	return nil
}

// baselineLimit limits the wait for the sockets of the other side to close.
const baselineLimit = 10 * time.Second

// waitForBaseline waits until the server counts no more connections than at first.
func (c *infoCounter) waitForBaseline(ctx context.Context) error {
	for deadline := time.Now().Add(baselineLimit); ; {
		n, total, err := c.ask(ctx)
		if err != nil {
			return err
		}
		c.total = total
		if c.base == 0 || n < c.base {
			c.base = n
		}
		if n <= c.base || time.Now().After(deadline) {
			return nil
		}
		if err := pause.For(ctx, sampleEvery); err != nil {
			return err
		}
	}
}

func (c *infoCounter) stop(ctx context.Context) (peak, opened int64, err error) {
	close(c.stopSampling)
	c.done.Wait()
	_, total, err := c.ask(ctx)
	if err == nil && c.peak == 0 {
		err = c.err
	}
	return c.peak, total - c.total, err
}

func (c *infoCounter) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	for _, one := range c.clients {
		_ = one.Close(ctx)
	}
}
