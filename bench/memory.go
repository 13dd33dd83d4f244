package main

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"github.com/gomodule/redigo/redis"
)

// stillFor is how long the server is stalled while memory is measured.
const stillFor = 3 * time.Second

// measureMemory measures the heap of an idle client, and of callers in flight to a stalled server,
// without their stacks.
func measureMemory(ctx context.Context, j job, c benchCase) (measured, error) {
	control, err := redis.DialContext(ctx, "tcp", j.Addr)
	if err != nil {
		return measured{}, err
	}
	defer control.Close()
	before := heapAndStacks()
	cl, err := clients[j.Client](ctx, j.Addr, c)
	if err != nil {
		return measured{}, err
	}
	defer cl.close()
	k := makeKeys(c.Size, c.Keys)[0]
	// Twice: the first round includes the cost of first use, and buffers that are not kept.
	for range 2 {
		if err := cl.get(0, k.name, k.value); err != nil {
			return measured{}, err
		}
	}
	time.Sleep(j.Time / warmUp)
	m := measured{IdleBytes: float64(heapAndStacks()) - float64(before)}

	if err := control.Send("DEBUG", "SLEEP", stillFor.Seconds()); err != nil {
		return m, err
	}
	if err := control.Flush(); err != nil {
		return m, err
	}
	time.Sleep(stillFor / 20)
	heapBefore, _ := heap()
	errs := make(chan error, c.Callers)
	start := time.Now()
	for i := range c.Callers {
		go func() { errs <- cl.get(i, k.name, k.value) }()
	}
	time.Sleep(stillFor / 3)
	inFlight, _ := heap()
	m.CallerHeap = (float64(inFlight) - float64(heapBefore)) / float64(c.Callers)
	for range c.Callers {
		if err := <-errs; err != nil {
			return m, err
		}
	}
	m.Ops = float64(c.Callers) / time.Since(start).Seconds()
	if _, err := control.Receive(); err != nil {
		return m, fmt.Errorf("DEBUG SLEEP: %w: the server must allow it (enable-debug-command)", err)
	}
	return m, nil
}

func heap() (heap, stacks uint64) {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc, m.StackInuse
}

func heapAndStacks() uint64 {
	h, s := heap()
	return h + s
}
