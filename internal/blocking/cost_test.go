package blocking

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"testing"
)

// A wait costs less than 1 KiB, with its queue and key.
func TestMemoryOfAWait(t *testing.T) {
	const limit = 1024
	for line, n := range map[string]int{
		"BLPOP queue:%d 1000":          100_000,
		"BLPOP high:%[1]d low:%[1]d 0": 20_000,
		"XREADGROUP GROUP workers consumer:%d COUNT 10 BLOCK 100000 STREAMS stream >": 20_000,
	} {
		m := newMemory()
		m.answer = func(*Attempt) *Outcome { return &Outcome{Reply: []byte("*-1\r\n")} }
		s := New(Config{Sender: m, Watcher: noWatcher{}})
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		for i := range n {
			if _, err := s.Start(request(fmt.Sprintf(line, i)), func(Result) {}); err != nil {
				t.Fatal(err)
			}
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		each := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) / int64(n)
		t.Logf("%s: %d B", line, each)
		if each > limit {
			t.Errorf("%s: a wait costs %d B: want at most %d", line, each, limit)
		}
		if got := s.Stats().Waiting; got != n {
			t.Errorf("%d wait: want %d", got, n)
		}
		closeWaits(t, s)
	}
}

type noWatcher struct{}

func (noWatcher) Watch([]string, Subscriber)   {}
func (noWatcher) Unwatch([]string, Subscriber) {}

func BenchmarkPushAndPop(b *testing.B) {
	m := newMemory()
	s := New(Config{Sender: m, Watcher: m})
	var waiters sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	var served sync.WaitGroup
	served.Add(b.N)
	req := request("BLPOP a 0")
	b.ReportAllocs()
	b.ResetTimer()
	for range 200 {
		waiters.Go(func() {
			for {
				if _, err := s.Do(ctx, req); err != nil {
					return
				}
				served.Done()
			}
		})
	}
	for range b.N {
		m.push("a", "x")
	}
	served.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "pops/s")
	c := s.Stats().Commands["BLPOP"]
	b.ReportMetric(float64(c.Tries)/float64(b.N), "tries/pop")
	b.ReportMetric(float64(c.Spurious)/float64(b.N), "spurious/pop")
	cancel()
	waiters.Wait()
	_ = s.Close(context.Background())
}
