// Package pooltest contains pools, and the series that each exporter must show for them. It is only
// for tests of exporters. It starts no goroutines.
package pooltest

import (
	_ "embed"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool"
)

// Pool is a pool for an exporter.
type Pool struct {
	Name    string
	MinIdle int
	Stats   respool.Stats
}

// Pools returns two pools: one of a server and one of a service.
func Pools() []Pool {
	return []Pool{
		{"orders", 2, respool.Stats{Addr: "redis:6379", MaxConnections: 16, Lanes: 4, Dedicated: 2, Idle: 1, Waiting: 3, Dials: 9, FailedWaits: 5,
			Blocking: respool.BlockingStats{Keys: 2, Watching: true, Invalidations: 40, Reconnects: 1, Commands: map[string]respool.BlockingCount{
				"BLPOP": {Waiting: 200, Served: 30, TimedOut: 4, Canceled: 3, Failed: 2, Tries: 41, Spurious: 6, GivenBack: 5, Lost: 1,
					Longest: 1500 * time.Millisecond},
				"XREADGROUP": {Served: 7, Tries: 8, Dropped: 2},
			}}}},
		{"cache", 2, respool.Stats{Service: &respool.ServiceStats{}, Blocking: respool.BlockingStats{Refusal: errors.New("NOPERM")}, Nodes: []respool.Stats{
			{Addr: "10.0.0.1:6379", MaxConnections: 8, Lanes: 1}, {Addr: "/run/redis.sock", MaxConnections: 8, Subscribed: 2},
		}}},
	}
}

// Events passes the events of the i-th pool to its exporter.
func Events(i int, onEvent func(respool.Event)) {
	for range i + 1 {
		onEvent(respool.Event{Kind: respool.EventDialed, Duration: time.Millisecond})
		onEvent(respool.Event{Kind: respool.EventReleased, Class: "dedicated", Duration: time.Millisecond})
		onEvent(respool.Event{Kind: respool.EventWaitEnded, Duration: time.Millisecond})
		onEvent(respool.Event{Kind: respool.EventWaitEnded, Err: respool.ErrPoolExhausted})
	}
}

// LabelText formats labels, by Prometheus' names and without the empty ones.
func LabelText(labels map[string]string) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		if labels[k] != "" {
			parts = append(parts, strings.ReplaceAll(k, ".", "_")+"="+labels[k])
		}
	}
	return strings.Join(parts, ",")
}

// Line is a series: its Prometheus name, its labels as LabelText formats them, and
// its value. The value of a histogram is its count.
func Line(name, labels string, value float64) string {
	return fmt.Sprintf("%s{%s} %v", name, labels, value)
}

//go:embed series.txt
var series string

// Check compares the series of an exporter to the expected ones.
func Check(t *testing.T, got []string) {
	t.Helper()
	want := strings.Split(strings.TrimSpace(series), "\n")
	for _, line := range want {
		if !slices.Contains(got, line) {
			t.Errorf("not shown: %s", line)
		}
	}
	for _, line := range got {
		if !slices.Contains(want, line) {
			t.Errorf("shown and not expected: %s", line)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d series: want %d", len(got), len(want))
	}
}
