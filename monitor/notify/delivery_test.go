package notify_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/seed-2b0d76a6/respool/monitor"
	"github.com/seed-2b0d76a6/respool/monitor/notify"
)

// outage is a sink that fails while it is down.
func outage(repeat time.Duration) (s *sink, down *atomic.Bool) {
	down = new(atomic.Bool)
	return &sink{repeat: repeat, fail: func(int) error {
		if down.Load() {
			return errors.New("down")
		}
		return nil
	}}, down
}

func TestTheEndOfWhatWasToldOutlastsAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, down := outage(0)
		q := notify.NewQueue(s, notify.QueueConfig{})
		q.Tell(fires("a"), fires("b"))
		synctest.Wait()
		down.Store(true)
		q.Tell(ends("a"))
		synctest.Wait() // it is being tried
		q.Tell(fires("a"), ends("b"))
		time.Sleep(30 * time.Hour)
		down.Store(false)
		shut(t, q)
		if got := s.sent(); slices.Index(got, "a resolved") < 0 || slices.Index(got, "b resolved") < 0 || len(got) > 5 {
			t.Errorf("%q", got)
		}
	})
}

func TestWhatIsRepeatedOutlastsAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, down := outage(time.Minute)
		down.Store(true)
		q := notify.NewQueue(s, notify.QueueConfig{})
		q.Tell(fires("a"), fires("b"))
		time.Sleep(90 * time.Minute)
		q.Tell(ends("b"))
		time.Sleep(90 * time.Minute)
		down.Store(false)
		time.Sleep(time.Minute)
		q.Tell(ends("a"))
		shut(t, q)
		got := s.sent()
		if len(got) < 2 || got[0] != "a firing" || got[len(got)-1] != "a resolved" || slices.Contains(got, "b firing") {
			t.Errorf("%q, %+v", got, q.Stats())
		}
	})
}

// bounded is a sink that bounds its attempts.
type bounded struct {
	sink
	most     int
	within   time.Duration
	sizes    []int
	deadline time.Duration
}

func (b *bounded) Limits() (int, time.Duration) { return b.most, b.within }

func (b *bounded) Send(ctx context.Context, alerts []monitor.Alert) error {
	at, _ := ctx.Deadline()
	b.sizes, b.deadline = append(b.sizes, len(alerts)), time.Until(at)
	return b.sink.Send(ctx, alerts)
}

func TestAnAttemptIsBoundedAsItsSinkSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bounded{most: 2, within: 5 * time.Minute}
		q := notify.NewQueue(b, notify.QueueConfig{})
		q.Tell(fires("a"), fires("b"), fires("c"))
		shut(t, q)
		if !slices.Equal(b.sizes, []int{2, 1}) || b.deadline < b.within || b.deadline > b.within+time.Minute {
			t.Errorf("%v at a time, within %v", b.sizes, b.deadline)
		}
	})
}

func TestASinkThatHangsHoldsUpNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hung, fine := notify.NewQueue(&sink{hang: true}, notify.QueueConfig{}), &sink{}
		q := notify.NewQueue(fine, notify.QueueConfig{})
		began := time.Now()
		hung.Tell(fires("a"))
		q.Tell(fires("a"))
		shut(t, q)
		want(t, fine.sent(), "a firing")
		if took := time.Since(began); took != 0 {
			t.Errorf("after %v", took)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := hung.Close(ctx); err == nil || !strings.Contains(err.Error(), "1 alerts") {
			t.Error(err)
		}
	})
}

func TestWhatIsToldAfterCloseIsDroppedAndCounted(t *testing.T) {
	s := &sink{}
	q := notify.NewQueue(s, notify.QueueConfig{})
	shut(t, q)
	q.Tell(fires("a"))
	shut(t, q)
	if st := q.Stats(); st.Dropped != 1 || st.Waiting != 0 || len(s.sent()) != 0 {
		t.Errorf("%+v", st)
	}
}

func TestAnEmptyQueueClosesWithoutAnErrorInNoTime(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := notify.NewQueue(&sink{}, notify.QueueConfig{}).Close(ctx); err != nil {
		t.Error(err)
	}
}

// change is an alert that changes its state, some time after what was before it.
type change struct {
	rule  string
	after time.Duration
}

// story is what happens to a queue.
type story struct {
	cfg     notify.QueueConfig
	repeat  time.Duration
	fails   []bool // attempts, in order; those after them succeed
	changes []change
}

func drawStory(t *rapid.T) story {
	return story{
		cfg: notify.QueueConfig{Limit: rapid.IntRange(1, 20).Draw(t, "limit"), Batch: rapid.IntRange(1, 5).Draw(t, "batch"),
			GiveUp: time.Duration(rapid.IntRange(1, 600).Draw(t, "give up")) * time.Second},
		repeat: time.Duration(rapid.IntRange(0, 1).Draw(t, "repeat")) * time.Minute,
		fails:  rapid.SliceOfN(rapid.Bool(), 0, 60).Draw(t, "fails"),
		changes: rapid.SliceOfN(rapid.Custom(func(t *rapid.T) change {
			return change{rapid.SampledFrom([]string{"a", "b", "c", "d", "e"}).Draw(t, "rule"),
				time.Duration(rapid.SampledFrom([]int{0, 0, 0, 1, 10, 700}).Draw(t, "after")) * time.Second}
		}), 0, 60).Draw(t, "changes"),
	}
}

// play tells a story, and returns what was heard, and the states in the end.
func (y story) play(t *testing.T) (heard []string, is map[string]monitor.AlertState, st notify.Stats, q *notify.Queue) {
	is = map[string]monitor.AlertState{}
	synctest.Test(t, func(t *testing.T) {
		s := &sink{repeat: y.repeat, fail: func(n int) error {
			if n <= len(y.fails) && y.fails[n-1] {
				return errors.New("not now")
			}
			return nil
		}}
		q = notify.NewQueue(s, y.cfg)
		for _, c := range y.changes {
			time.Sleep(c.after)
			is[c.rule] = map[bool]monitor.AlertState{true: monitor.Resolved, false: monitor.Firing}[is[c.rule] == monitor.Firing]
			q.Tell(alert(c.rule, is[c.rule]))
		}
		shut(t, q)
		heard, st = s.sent(), q.Stats()
	})
	return heard, is, st, q
}

// Whatever is given up or dropped, each alert is heard of in turn as firing and
// as resolved, and nothing that is over is heard of last as firing.
func TestWhatWasHeardOfAsFiringIsHeardOfAsResolved(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		y := drawStory(rt)
		heard, is, st, _ := y.play(t)
		if problem := judgeStory(y, heard, is, st); problem != "" {
			rt.Fatalf("%s: %q, %+v", problem, heard, st)
		}
	})
}

func judgeStory(y story, heard []string, is map[string]monitor.AlertState, st notify.Stats) string {
	last := map[string]string{}
	for _, text := range heard {
		rule, now, _ := strings.Cut(text, " ")
		repeated := y.repeat > 0 && now == "firing"
		if now == last[rule] && !repeated || now == "resolved" && last[rule] == "" {
			return fmt.Sprintf("%s after %q", text, last[rule])
		}
		last[rule] = now
	}
	for rule, state := range is {
		switch {
		case state == monitor.Resolved && last[rule] == "firing":
			return rule + " is over, and nobody heard"
		case state == monitor.Firing && last[rule] != "firing" && st.Failed+st.Dropped == 0:
			return rule + " fires, and nobody heard"
		}
	}
	if st.Waiting != 0 {
		return "something waits"
	}
	return ""
}
