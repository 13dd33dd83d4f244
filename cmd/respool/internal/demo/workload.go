package demo

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/connect"
	"github.com/seed-2b0d76a6/respool/monitor"
)

// The workload: one SET to four GETs of 64 bytes, over a thousand keys.
const (
	keyCount     = 1000
	valueSize    = 64
	writeEvery   = 5
	maxLatencyUS = int64(time.Minute / time.Microsecond)
)

// value is the fixed value of a key, so that each reply can be checked.
func value(key string) string {
	return fmt.Sprintf("%s=%-*s", key, max(0, valueSize-len(key)-1), "")
}

// workload holds the keys and their values.
type workload struct {
	keys, values []string
	nodes        map[string]respool.Options // the node of each key in a cluster; nil: one server
}

// locate finds the node of each key in a cluster. It returns all primaries.
func (w *workload) locate(ctx context.Context, opt respool.Options) (nodes []respool.Options, err error) {
	m, err := monitor.FindCluster(ctx, opt)
	if err != nil {
		return nil, err
	}
	if n, slots := m.Uncovered(); n > 0 {
		return nil, fmt.Errorf("the cluster has no node for %d slots (%s): want a healthy cluster", n, slots)
	}
	for _, n := range m.Primaries() {
		nodes = append(nodes, n.Options(opt))
	}
	w.nodes = map[string]respool.Options{}
	return nodes, w.withClient(nodes[0], func(c *respool.Client) error {
		p := c.Pipeline()
		for _, key := range w.keys {
			p.Do("CLUSTER", "KEYSLOT", key)
		}
		replies, err := p.Exec(ctx)
		if err != nil {
			return err
		}
		for i, r := range replies {
			slot, err := r.Int64()
			if err != nil {
				return err
			}
			w.nodes[w.keys[i]] = m.Owner(int(slot)).Options(opt)
		}
		return nil
	})
}

func newWorkload(prefix string) *workload {
	w := &workload{}
	for i := range keyCount {
		key := fmt.Sprintf("%s%04d", prefix, i)
		w.keys = append(w.keys, key)
		w.values = append(w.values, value(key))
	}
	return w
}

// outcome is the combined measurement of all callers.
type outcome struct {
	ops      int64
	errors   int64
	firstErr error
	took     time.Duration
	hist     *hdrhistogram.Histogram // microseconds
}

// drive runs callers against a store for d and checks every reply.
func (w *workload) drive(ctx context.Context, s store, callers int, d time.Duration, progress func(ops int64)) *outcome {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	out := &outcome{hist: newHistogram()}
	var mu sync.Mutex
	var ops atomic.Int64
	var wg sync.WaitGroup
	began := time.Now()
	stop := began.Add(d)
	for i := range callers {
		wg.Go(func() {
			hist := newHistogram()
			r := rand.New(rand.NewPCG(uint64(i), 1))
			var errs int64
			var first error
			for ctx.Err() == nil {
				t := time.Now()
				if !t.Before(stop) {
					break
				}
				if err := w.operation(ctx, s, r); err != nil {
					errs++
					if first == nil {
						first = err
					}
					time.Sleep(time.Millisecond) // errors may return immediately
					continue
				}
				_ = hist.RecordValue(min(time.Since(t).Microseconds(), maxLatencyUS))
				ops.Add(1)
			}
			mu.Lock()
			defer mu.Unlock()
			out.hist.Merge(hist)
			out.errors += errs
			if out.firstErr == nil {
				out.firstErr = first
			}
		})
	}
	finished := make(chan struct{})
	go func() { wg.Wait(); close(finished) }()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			progress(ops.Load())
			continue
		case <-finished:
		}
		break
	}
	out.ops, out.took = ops.Load(), time.Since(began)
	return out
}

func newHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(1, maxLatencyUS, 2) }

func (w *workload) operation(ctx context.Context, s store, r *rand.Rand) error {
	i := r.IntN(len(w.keys))
	if r.IntN(writeEvery) == 0 {
		return s.set(ctx, w.keys[i], w.values[i])
	}
	got, err := s.get(ctx, w.keys[i])
	if err == nil && got != w.values[i] {
		err = fmt.Errorf("GET %s returned %.80q: want %.80q", w.keys[i], got, w.values[i])
	}
	return err
}

// fill sets every key to its value.
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

// remove deletes the keys, after an interruption too.
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
		fmt.Fprintf(os.Stderr, "respool: cannot remove the keys %s...: %v\n", w.keys[0], err)
	}
}

func (w *workload) withClient(opt respool.Options, fn func(*respool.Client) error) error {
	opt.MaxConnections, opt.Lanes, opt.MinIdle = 1, 1, 0
	c, err := respool.New(opt)
	if err != nil {
		return err
	}
	defer connect.Close(c)
	return fn(c)
}
