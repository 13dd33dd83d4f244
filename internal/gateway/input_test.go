package gateway

import (
	"testing"
	"time"
)

// Clients that are over a rate resume after their wait, and together: at the same points of time.
func TestClientsOverARateResumeTogether(t *testing.T) {
	start := time.Unix(1_800_000_000, 0)
	ends := map[time.Time]int{}
	for i := range 1000 {
		now, wait := start.Add(time.Duration(i)*17*time.Microsecond), time.Duration(i%7)*time.Millisecond
		d := untilResume(now, wait)
		if d < wait || d > wait+resumeEvery {
			t.Errorf("%v after a wait of %v: want %v more at most", d, wait, resumeEvery)
		}
		ends[now.Add(d)]++
	}
	if n := int(1000*17*time.Microsecond/resumeEvery) + 3; len(ends) > n {
		t.Errorf("they resume at %d times: want %d at most", len(ends), n)
	}
}

// A timer may fire when a change of the limits has ended the wait, and the limit.
func TestALateTimerOfALimitDoesNothing(t *testing.T) {
	for _, rate := range []*rateLimit{nil, {}} {
		c := &client{allowance: &allowance{rate: rate}}
		c.endWait() // it would resume a client without a connection
	}
}
