package engine

import (
	"testing"
	"time"
)

// However many commands are refused, a node's connections are renewed once a second at most, and
// more and more rarely while that does not help.
func TestRenewalsAreBounded(t *testing.T) {
	var r renewal
	start := time.Now()
	var at []time.Duration
	for now := time.Duration(0); now < time.Minute; now += time.Millisecond {
		if r.due(start.Add(now)) {
			at = append(at, now)
		}
	}
	if at[0] != 0 || len(at) < 60/10 || len(at) > 3+60/8+1 {
		t.Fatalf("renewals after %v", at)
	}
	for i, pause := 1, firstRenewalPause; i < len(at); i, pause = i+1, min(2*pause, lastRenewalPause) {
		if d := at[i] - at[i-1]; d < pause || d > pause+pause/4+time.Millisecond {
			t.Errorf("renewal %d after %v: want %v, and up to a quarter more", i, d, pause)
		}
	}
	if later := start.Add(2 * time.Minute); !r.due(later) || r.due(later.Add(firstRenewalPause-1)) || !r.due(later.Add(2*firstRenewalPause)) {
		t.Error("after a quiet time it does not begin anew")
	}
}
