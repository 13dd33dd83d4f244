package notify_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/seed-2b0d76a6/respool/monitor"
	"github.com/seed-2b0d76a6/respool/monitor/notify"
)

// outcome describes the delivery of an alert.
func outcome(q *notify.Queue, rule string) string {
	a := fires(rule)
	d := q.Delivery(a.ID())
	if d.Sink != "test" {
		return "of the sink " + d.Sink
	}
	names := map[notify.Outcome]string{notify.Unknown: "unknown", notify.Waiting: "waiting", notify.Retrying: "retrying", notify.Delivered: "delivered",
		notify.Failed: "failed", notify.Dropped: "dropped", notify.Unsent: "unsent"}
	text := names[d.Outcome]
	if d.Outcome != notify.Unknown {
		text = d.State.String() + " " + text
	}
	if d.Attempts > 0 {
		text += fmt.Sprint(" ", d.Attempts)
	}
	if d.Err != nil {
		text += " " + d.Err.Error()
	}
	return text
}

func TestAQueueKnowsWhatBecameOfEachAlert(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, down := outage(time.Minute)
		q := notify.NewQueue(s, notify.QueueConfig{GiveUp: time.Hour})
		check := func(want string) {
			t.Helper()
			synctest.Wait()
			var got []string
			for _, rule := range []string{"a", "b", "c"} {
				got = append(got, outcome(q, rule))
			}
			if text := strings.Join(got, ", "); text != want {
				t.Errorf("%s: want %s", text, want)
			}
		}
		check("unknown, unknown, unknown")
		q.Tell(fires("a"), ends("c"))
		check("firing delivered, unknown, resolved unsent") // it does not know the beginning of c
		down.Store(true)
		time.Sleep(90 * time.Second)
		check("firing delivered down, unknown, resolved unsent") // the repetition failed
		q.Tell(fires("b"))
		check("firing delivered down, firing retrying 1 down, resolved unsent")
		q.Tell(fires("c"))
		check("firing delivered down, firing retrying 1 down, firing waiting")
		q.Tell(ends("c"))
		check("firing delivered down, firing retrying 1 down, resolved unsent")
		down.Store(false)
		time.Sleep(time.Minute)
		check("firing delivered, firing delivered 1, resolved unsent")
		q.Tell(ends("a"))
		check("resolved delivered, firing delivered 1, resolved unsent")
		shut(t, q)
		q.Tell(fires("c"))
		check("resolved delivered, firing delivered 1, firing dropped")
	})
}

func TestAQueueKnowsWhatWasRefusedAndGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refuse := errors.New("bad request")
		s := &sink{fail: func(n int) error {
			if n == 1 {
				return notify.Permanent(refuse)
			}
			return errors.New("down")
		}}
		q := notify.NewQueue(s, notify.QueueConfig{GiveUp: time.Minute})
		q.Tell(fires("a"))
		synctest.Wait()
		q.Tell(fires("b"))
		time.Sleep(time.Hour)
		a, b := fires("a"), fires("b")
		for id, text := range map[string]string{a.ID(): "bad request", b.ID(): "down"} {
			if d := q.Delivery(id); d.Outcome != notify.Failed || d.Err == nil || d.Err.Error() != text || d.At.IsZero() || d.FailedAt.IsZero() {
				t.Errorf("%+v: want failed: %s", d, text)
			}
		}
		shut(t, q)
	})
}

// A queue forgets the oldest outcomes: names of strangers do not fill its memory.
func TestTheOutcomesAreBounded(t *testing.T) {
	q := notify.NewQueue(&sink{}, notify.QueueConfig{Limit: 10})
	known := 0
	for i := range 1000 {
		q.Tell(ends(fmt.Sprint(i)))
	}
	for i := range 1000 {
		if outcome(q, fmt.Sprint(i)) != "unknown" {
			known++
		}
	}
	if known != 10 || outcome(q, "999") != "resolved unsent" {
		t.Errorf("%d outcomes: want 10, and the newest", known)
	}
	shut(t, q)
}

// An outcome agrees with what the sink has heard.
func TestOutcomesAreTrue(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		y := drawStory(rt)
		y.cfg.Limit += 5
		heard, is, _, q := y.play(t)
		last := map[string]string{}
		for _, text := range heard {
			rule, now, _ := strings.Cut(text, " ")
			last[rule] = now
		}
		for rule, state := range is {
			a := fires(rule)
			d := q.Delivery(a.ID())
			delivered := d.Outcome == notify.Delivered
			lost := d.Outcome == notify.Failed || d.Outcome == notify.Dropped || d.Outcome == notify.Unsent
			if d.State != state || delivered == lost || delivered && last[rule] != state.String() || state == monitor.Firing && lost && last[rule] == "firing" {
				rt.Fatalf("%s is %v, last heard %q, and %+v: %q", rule, state, last[rule], d, heard)
			}
		}
	})
}
