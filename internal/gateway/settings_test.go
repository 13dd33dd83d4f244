package gateway

import (
	"runtime"
	"testing"
)

func TestTheDefaultLoopsAreHalfOfTheProcessors(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	for processors, want := range map[int]int{1: 1, 2: 1, 3: 1, 4: 2, 8: 4, 16: 8, 64: 8} {
		runtime.GOMAXPROCS(processors)
		if got := DefaultLoops(); got != want {
			t.Errorf("%d processors: %d loops, want %d", processors, got, want)
		}
	}
}
