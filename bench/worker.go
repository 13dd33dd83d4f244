package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// warmUp is the measured time divided by the time of the warm-up.
const warmUp = 5

// work makes one measurement and prints its figures.
func work(ctx context.Context, text string) error {
	j, c, err := decodeJob(text)
	if err != nil {
		return err
	}
	if c.Load == memory {
		m, err := measureMemory(ctx, j, c)
		if err != nil {
			return err
		}
		return m.report()
	}
	cl, err := clients[j.Client](ctx, j.Addr, c)
	if err != nil {
		return fmt.Errorf("open %s: %w", j.Client, err)
	}
	defer cl.close()
	stop, err := profile(j.Profile)
	if err != nil {
		return err
	}
	m, err := measure(cl, c, j.Time)
	stop()
	if err != nil {
		return fmt.Errorf("%s: %w", j.Client, err)
	}
	return m.report()
}

// profile starts a processor profile if requested. It returns a function that ends it.
func profile(path string) (stop func(), err error) {
	if path == "" {
		return func() {}, nil
	}
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, err
	}
	return func() {
		pprof.StopCPUProfile()
		f.Close()
	}, nil
}

// operation is what a caller repeats. It counts as weight operations.
type operation struct {
	do     func() error
	weight int
	timed  bool // its latencies are those of the case
}

// measure puts the load of the case on the client.
func measure(cl client, c benchCase, d time.Duration) (measured, error) {
	if c.Load != beside {
		return drive(operations(cl, c), d)
	}
	usual, err := drive(operations(cl, callers(c.Callers)), d/2)
	if err != nil {
		return usual, err
	}
	ops := operations(cl, benchCase{Load: getSet, Callers: c.Callers, Size: c.Size, Keys: c.Keys})
	ops[0] = operations(cl, callers(1))[0]
	ops[0].weight = 0
	for i := range ops {
		ops[i].timed = i == 0
	}
	m, err := drive(ops, d)
	m.UsualP99 = usual.P99
	return m, err
}

// operations returns the operation of each caller.
func operations(cl client, c benchCase) []operation {
	keys := makeKeys(c.Size, c.Keys)
	ops := make([]operation, c.Callers)
	for i := range ops {
		r := uint32(i)*2654435761 + 1
		next := func() uint32 {
			r ^= r << 13
			r ^= r >> 17
			r ^= r << 5
			return r
		}
		n := i
		getOrSet := func() command {
			k := keys[next()%uint32(len(keys))]
			n++
			return command{set: n%5 == 0, key: k.name, value: k.value}
		}
		op := operation{weight: 1, timed: true}
		switch c.Load {
		case pop:
			op.do = func() error { return cl.pop(i, popKey) }
		case hold:
			op.do = func() error {
				k := getOrSet()
				return cl.hold(i, k.key, k.value)
			}
		case pipeline:
			op.weight = batch
			cmds := make([]command, batch)
			op.do = func() error {
				for j := range cmds {
					cmds[j] = getOrSet()
				}
				return cl.pipeline(i, cmds)
			}
		default:
			op.do = func() error {
				k := getOrSet()
				if k.set {
					return cl.set(i, k.key, k.value)
				}
				return cl.get(i, k.key, k.value)
			}
		}
		ops[i] = op
	}
	return ops
}

const (
	// expected is the number of operations per second for which the lists of latencies have room.
	expected = 3e6
	// With more callers than this, only one latency in a few is measured, because reading the clock
	// costs a tenth of an operation.
	everyUpTo  = 64
	oneLatency = 8
)

// The phases of a measurement.
const (
	warming int32 = iota
	measuring
	over
)

// drive runs all operations concurrently for d, after a warm-up, and measures them.
func drive(ops []operation, d time.Duration) (measured, error) {
	type result struct {
		latencies []time.Duration
		done      int
		err       error
	}
	results := make([]result, len(ops))
	for i := range results {
		results[i].latencies = make([]time.Duration, 0, int(expected*d.Seconds())/len(ops)+1)
	}
	every := 1
	if len(ops) > everyUpTo {
		every = oneLatency
	}
	var phase atomic.Int32
	var wg sync.WaitGroup
	for i, op := range ops {
		wg.Go(func() {
			r := &results[i]
			for n := i; phase.Load() != over; n++ {
				timed := op.timed && n%every == 0
				var began time.Time
				if timed {
					began = time.Now()
				}
				if r.err = op.do(); r.err != nil {
					phase.Store(over)
					return
				}
				if phase.Load() != measuring {
					continue
				}
				r.done += op.weight
				if timed {
					r.latencies = append(r.latencies, time.Since(began))
				}
			}
		})
	}
	time.Sleep(d / warmUp)
	cpu, allocs := processorTime(), allocations()
	began := time.Now()
	phase.CompareAndSwap(warming, measuring)
	time.Sleep(d)
	took := time.Since(began)
	phase.Store(over)
	cpu, allocs = processorTime()-cpu, allocations()-allocs
	wg.Wait()

	var all []time.Duration
	done := 0
	for _, r := range results {
		if r.err != nil {
			return measured{}, r.err
		}
		done += r.done
		all = append(all, r.latencies...)
	}
	if done == 0 || len(all) == 0 {
		return measured{}, fmt.Errorf("no operation completed within %v: want a longer --time", d)
	}
	slices.Sort(all)
	at := func(q float64) float64 { return micros(all[min(int(q*float64(len(all))), len(all)-1)]) }
	return measured{
		Ops: float64(done) / took.Seconds(),
		P50: at(0.5), P99: at(0.99), P999: at(0.999), Max: at(1),
		CPU: micros(cpu) / float64(done), Allocs: float64(allocs) / float64(done),
	}, nil
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// processorTime returns the processor time of this process so far, in user and system mode.
func processorTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func allocations() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.Mallocs
}
