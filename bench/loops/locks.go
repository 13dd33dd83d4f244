package main

import (
	"fmt"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"text/tabwriter"
)

// operations is the number of operations of each goroutine in a measurement of a lock.
const operations = 5_000_000

// padded is a lock and counters with cache lines that nothing else uses.
type padded struct {
	_      [128]byte
	mu     sync.Mutex
	locked int64 // guarded by mu
	n      atomic.Int64
	_      [128]byte
}

// printLocks prints the processor time of an operation by one goroutine, and by one goroutine for each core, on memory
// of their own and on the same memory.
func printLocks(w io.Writer) error {
	cores := runtime.GOMAXPROCS(0)
	fmt.Fprintf(w, "\nnanoseconds of processor time per operation\n\n")
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "operation\talone\t%d cores, each its own\t%d cores, the same\n", cores, cores)
	for _, op := range []struct {
		name string
		do   func(p *padded)
	}{
		{"lock and unlock", func(p *padded) { p.mu.Lock(); p.locked++; p.mu.Unlock() }},
		{"atomic add", func(p *padded) { p.n.Add(1) }},
	} {
		fmt.Fprintf(t, "%s\t%.1f\t%.1f\t%.1f\n", op.name, timeOf(1, false, op.do), timeOf(cores, false, op.do), timeOf(cores, true, op.do))
	}
	return t.Flush()
}

// timeOf returns the processor time of one operation in nanoseconds, by goroutines that run at the same time.
func timeOf(goroutines int, same bool, do func(p *padded)) float64 {
	all := make([]padded, goroutines)
	var wg sync.WaitGroup
	before := processorTime()
	for i := range all {
		p := &all[i]
		if same {
			p = &all[0]
		}
		wg.Go(func() {
			for range operations {
				do(p)
			}
		})
	}
	wg.Wait()
	return float64((processorTime() - before).Nanoseconds()) / float64(operations*goroutines)
}
