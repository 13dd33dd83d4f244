package engine

import (
	"testing"
	"time"
)

// Refused commands redial a node's connections once a second at most, and less often while the refusals continue.
func TestRedialsAreBounded(t *testing.T) {
	var r redialPace
	start := time.Now()
	var at []time.Duration
	for now := time.Duration(0); now < time.Minute; now += time.Millisecond {
		if r.due(start.Add(now)) {
			at = append(at, now)
		}
	}
	if at[0] != 0 || len(at) < 60/10 || len(at) > 3+60/8+1 {
		t.Fatalf("redials after %v", at)
	}
	for i, pause := 1, firstRedialPause; i < len(at); i, pause = i+1, min(2*pause, lastRedialPause) {
		if d := at[i] - at[i-1]; d < pause || d > pause+pause/4+time.Millisecond {
			t.Errorf("redial %d after %v: want %v, and up to a quarter more", i, d, pause)
		}
	}
	if later := start.Add(2 * time.Minute); !r.due(later) || r.due(later.Add(firstRedialPause-1)) || !r.due(later.Add(2*firstRedialPause)) {
		t.Error("after a quiet time the pauses do not start again")
	}
}
