package refusal

import (
	"testing"
	"testing/synctest"
	"time"
)

// Refused commands redial a node's connections once a second at most, and less often while the refusals continue.
func TestRedialsAreBounded(t *testing.T) {
	var r Record
	start := time.Now()
	var at []time.Duration
	for now := time.Duration(0); now < time.Minute; now += time.Millisecond {
		if r.RedialDue(start.Add(now)) {
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
	if later := start.Add(2 * time.Minute); !r.RedialDue(later) || r.RedialDue(later.Add(firstRedialPause-1)) || !r.RedialDue(later.Add(2*firstRedialPause)) {
		t.Error("after a quiet time the pauses do not start again")
	}
}

// A confirmation applies for a while, and only to connections that were open then.
func TestAConfirmationAppliesForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r Record
		old := time.Now()
		if r.ProvedSince(old) {
			t.Error("confirmed before any confirmation")
		}
		time.Sleep(time.Second)
		r.Proved()
		switch {
		case !r.ProvedSince(old):
			t.Error("a connection from before the confirmation is not covered")
		case r.ProvedSince(time.Now()):
			t.Error("a connection from after the confirmation is covered: it may lead to another server")
		}
		time.Sleep(provenFor)
		if r.ProvedSince(old) {
			t.Error("the confirmation applies for ever")
		}
	})
}
