package respool_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/fakeserver"
)

const manyNodes = 100

// footprintURL names the cluster to the process that measures the client's memory: that of the servers does not count.
const footprintURL = "RESPOOL_TEST_FOOTPRINT_URL"

// heapInUse returns the bytes of the heap in use after a collection.
func heapInUse() int64 {
	runtime.GC()
	runtime.GC() // empties each sync.Pool
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse)
}

func TestAnIdleClientOf100NodesUsesLittleMemory(t *testing.T) {
	if url := os.Getenv(footprintURL); url != "" {
		measureFootprint(t, url)
		return
	}
	c := fakeserver.StartCluster(t, fakeserver.ClusterConfig{Primaries: manyNodes})
	child := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	child.Env = append(os.Environ(), footprintURL+"=redis+cluster://"+strings.Join(c.Addrs()[:3], ",")+"?socket_timeout=60")
	out, err := child.CombinedOutput()
	if err != nil {
		t.Errorf("%v", err)
	}
	t.Logf("%s", out)
}

func measureFootprint(t *testing.T, url string) {
	const limit = 4 << 20
	ctx := context.Background()
	before, goroutines := heapInUse(), runtime.NumGoroutine()
	c, err := respool.Open(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	opened := heapInUse() - before
	if st := c.Stats(); st.Lanes != manyNodes || st.Dials != manyNodes {
		t.Errorf("after Open: %v: want one lane to each of %d nodes", st, manyNodes)
	}
	t.Logf("after Open: %d KiB of heap, %d goroutines", opened>>10, runtime.NumGoroutine()-goroutines)
	if opened > limit {
		t.Errorf("the client uses %d KiB after Open: want %d at most", opened>>10, limit>>10)
	}
	value := strings.Repeat("x", 6<<10) // larger than the read buffer of an idle lane
	p := c.Pipeline()
	for i := range 10 * manyNodes {
		key := fmt.Sprint("key:", i)
		if p.Do("SET", key, value).Do("GET", key); p.Len() < manyNodes {
			continue
		}
		if _, err := p.Exec(ctx); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("after pipelines: %d KiB", (heapInUse()-before)>>10)
	testkit.Eventually(t, "an idle client uses little memory again", func() bool { return heapInUse()-before < limit })
	t.Logf("idle again: %d KiB", (heapInUse()-before)>>10)
	if err := c.Close(ctx); err != nil {
		t.Error(err)
	}
}

// Each Open finds 100 nodes and opens one connection to each.
func BenchmarkOpenOf100Nodes(b *testing.B) {
	c := fakeserver.StartCluster(b, fakeserver.ClusterConfig{Primaries: manyNodes})
	url := "redis+cluster://" + strings.Join(c.Addrs()[:3], ",")
	ctx := context.Background()
	for b.Loop() {
		client, err := respool.Open(ctx, url)
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		_ = client.Close(ctx)
		b.StartTimer()
	}
}
