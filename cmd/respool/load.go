package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/resp"
)

// The demo's work: one SET to four GETs of 64 bytes over a thousand keys.
const (
	demoKeys   = 1000
	valueSize  = 64
	writeEvery = 5
	slowestUS  = int64(time.Minute / time.Microsecond)
)

// store is what a side of the demo works with.
type store interface {
	get(ctx context.Context, key string) (string, error)
	set(ctx context.Context, key, value string) error
}

type respoolStore struct{ c *respool.Client }

func (s respoolStore) get(ctx context.Context, key string) (string, error) {
	return s.c.Do(ctx, "GET", key).Text()
}

func (s respoolStore) set(ctx context.Context, key, value string) error {
	return s.c.Do(ctx, "SET", key, value).Err()
}

type unboundedStore struct{ u *unbounded }

func (s unboundedStore) get(ctx context.Context, key string) (string, error) {
	v, err := s.u.do(ctx, "GET", key)
	if err == nil && v.Kind == resp.SimpleError {
		err = resp.NewServerError(string(v.Str))
	}
	return string(v.Str), err
}

func (s unboundedStore) set(ctx context.Context, key, value string) error {
	v, err := s.u.do(ctx, "SET", key, value)
	if err == nil && v.Kind == resp.SimpleError {
		err = resp.NewServerError(string(v.Str))
	}
	return err
}

// value is the one that a key always has, so that each reply can be checked.
func value(key string) string {
	return fmt.Sprintf("%s=%-*s", key, max(0, valueSize-len(key)-1), "")
}

// workload holds the keys and their values.
type workload struct{ keys, values []string }

func newWorkload(prefix string) *workload {
	w := &workload{}
	for i := range demoKeys {
		key := fmt.Sprintf("%s%04d", prefix, i)
		w.keys = append(w.keys, key)
		w.values = append(w.values, value(key))
	}
	return w
}

// outcome is what the callers saw.
type outcome struct {
	ops      int64
	errors   int64
	firstErr error
	took     time.Duration
	hist     *hdrhistogram.Histogram // microseconds
}

// drive runs callers against a store for d, and checks every reply.
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
				if err := w.once(ctx, s, r); err != nil {
					errs++
					if first == nil {
						first = err
					}
					time.Sleep(time.Millisecond) // an error may come at once
					continue
				}
				_ = hist.RecordValue(min(time.Since(t).Microseconds(), slowestUS))
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

func newHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(1, slowestUS, 2) }

func (w *workload) once(ctx context.Context, s store, r *rand.Rand) error {
	i := r.IntN(len(w.keys))
	if r.IntN(writeEvery) == 0 {
		return s.set(ctx, w.keys[i], w.values[i])
	}
	got, err := s.get(ctx, w.keys[i])
	if err == nil && got != w.values[i] {
		err = fmt.Errorf("GET %s gave %.80q: want %.80q", w.keys[i], got, w.values[i])
	}
	return err
}
