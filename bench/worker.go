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

	"github.com/gomodule/redigo/redis"
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
	l := &loadRun{client: cl, c: c}
	if l.server, err = redis.DialContext(ctx, "tcp", j.Addr); err != nil {
		return err
	}
	defer l.server.Close()
	if c.fed() {
		if l.feeder, err = openFeeder(ctx, j.Addr, c); err != nil {
			return err
		}
		defer l.feeder.close()
	}
	stop, err := profile(j.Profile)
	if err != nil {
		return err
	}
	m, err := l.measure(j.Time)
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

// loadRun is one measurement of a client.
type loadRun struct {
	client client
	c      benchCase
	server redis.Conn // reads the server's processor time
	feeder *feeder    // nil: the callers need none
}

// measure puts the load of the case on the client.
func (l *loadRun) measure(d time.Duration) (measured, error) {
	c := l.c
	if c.Load != beside {
		return l.drive(l.operations(c), d)
	}
	usual, err := l.drive(l.operations(callers(c.Callers)), d/2)
	if err != nil {
		return usual, err
	}
	ops := l.operations(benchCase{Load: getSet, Callers: c.Callers, Size: c.Size, Keys: c.Keys})
	ops[0] = l.operations(callers(1))[0]
	ops[0].weight = 0
	for i := range ops {
		ops[i].timed = i == 0
	}
	m, err := l.drive(ops, d)
	m.UsualP99 = usual.P99
	return m, err
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

// result is what one caller measured.
type result struct {
	latencies []time.Duration
	done      int
	err       error
}

// repeat repeats an operation until the measurement is over or fails. It times one operation in
// every, beginning at n.
func (r *result) repeat(op operation, n, every int, phase *atomic.Int32) {
	for ; phase.Load() != over; n++ {
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
			if op.from != nil && !op.from.IsZero() {
				began = *op.from
			}
			r.latencies = append(r.latencies, max(0, time.Since(began)))
		}
	}
}

// drive runs all operations concurrently for d, after a warm-up, and measures them.
func (l *loadRun) drive(ops []operation, d time.Duration) (measured, error) {
	results := make([]result, len(ops))
	every := 1
	if l.feeder == nil {
		for i := range results {
			results[i].latencies = make([]time.Duration, 0, int(expected*d.Seconds())/len(ops)+1)
		}
		if len(ops) > everyUpTo {
			every = oneLatency
		}
	}
	var phase atomic.Int32
	var wg sync.WaitGroup
	for i, op := range ops {
		wg.Go(func() { results[i].repeat(op, i, every, &phase) })
	}
	time.Sleep(d / warmUp)
	if l.feeder != nil {
		// The callers block now.
		l.feeder.start()
		time.Sleep(d / warmUp)
	}
	serverCPU, err := serverTime(l.server)
	if err != nil {
		return measured{}, err
	}
	cpu, allocs := processorTime(), allocations()
	began := time.Now()
	phase.CompareAndSwap(warming, measuring)
	time.Sleep(d)
	took := time.Since(began)
	phase.Store(over)
	cpu, allocs = processorTime()-cpu, allocations()-allocs
	serverEnd, err := serverTime(l.server)
	if err != nil {
		return measured{}, err
	}
	if l.feeder != nil {
		if err := l.feeder.stop(); err != nil {
			return measured{}, err
		}
	}
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
		CPU: micros(cpu) / float64(done), ServerCPU: micros(serverEnd-serverCPU) / float64(done), Allocs: float64(allocs) / float64(done),
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
