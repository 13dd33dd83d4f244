package notify_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/seed-2b0d76a6/respool/monitor"
	"github.com/seed-2b0d76a6/respool/monitor/notify"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sink records the alerts it receives, and fails on request.
type sink struct {
	mu     sync.Mutex
	got    []string
	fail   func(attempt int) error
	tries  int
	hang   bool
	repeat time.Duration
}

func (s *sink) Name() string          { return "test" }
func (s *sink) Repeat() time.Duration { return s.repeat }

func (s *sink) Send(ctx context.Context, alerts []monitor.Alert) error {
	if s.hang {
		<-ctx.Done()
		return ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tries++
	if s.fail != nil {
		if err := s.fail(s.tries); err != nil {
			return err
		}
	}
	for _, a := range alerts {
		s.got = append(s.got, a.Rule+" "+a.State.String())
	}
	return nil
}

func (s *sink) sent() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.got)
}

func alert(rule string, state monitor.AlertState) monitor.Alert {
	return monitor.Alert{Finding: monitor.Finding{Rule: rule, Severity: monitor.Page, What: "what", Evidence: "evidence", Remedy: "remedy"}, State: state}
}

func fires(rule string) monitor.Alert { return alert(rule, monitor.Firing) }
func ends(rule string) monitor.Alert  { return alert(rule, monitor.Resolved) }

func shut(t rapid.TB, q *notify.Queue) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 24*time.Hour)
	defer cancel()
	if err := q.Close(ctx); err != nil {
		t.Error(err)
	}
}

func want(t rapid.TB, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestAlertsAreSentInOrder(t *testing.T) {
	s := &sink{}
	q := notify.NewQueue(s, notify.QueueConfig{Batch: 2})
	for i := range 50 {
		q.Tell(fires(fmt.Sprint(i)))
	}
	shut(t, q)
	var all []string
	for i := range 50 {
		all = append(all, fmt.Sprint(i)+" firing")
	}
	want(t, s.sent(), all...)
	if st := q.Stats(); st.Delivered != 50 || st.Failed+st.Dropped != 0 || st.Waiting != 0 || st.Name != "test" {
		t.Errorf("%+v", st)
	}
}

func TestWhatFailsIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sink{fail: func(n int) error {
			if n < 6 {
				return errors.New("not now")
			}
			return nil
		}}
		q := notify.NewQueue(s, notify.QueueConfig{})
		began := time.Now()
		q.Tell(fires("a"))
		shut(t, q)
		want(t, s.sent(), "a firing")
		// Pauses of half to all of 0.5, 1, 2, 4 and 8 s.
		if took := time.Since(began); took < 7*time.Second || took > 16*time.Second {
			t.Errorf("after %v", took)
		}
		if st := q.Stats(); st.LastError == nil || st.FailedAt.IsZero() || st.Delivered != 1 {
			t.Errorf("%+v", st)
		}
	})
}

func TestWhatFailsForLongIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sink{fail: func(int) error { return errors.New("never") }}
		q := notify.NewQueue(s, notify.QueueConfig{GiveUp: 10 * time.Minute})
		q.Tell(fires("a"))
		synctest.Wait()
		q.Tell(ends("a")) // nobody heard of its beginning
		shut(t, q)
		if st := q.Stats(); st.Failed != 1 || st.Delivered != 0 || s.tries < 10 {
			t.Errorf("%+v after %d", st, s.tries)
		}
	})
}

func TestAPermanentFailureIsNotTriedAgain(t *testing.T) {
	s := &sink{fail: func(n int) error {
		if n == 1 {
			return notify.Permanent(errors.New("no"))
		}
		return nil
	}}
	q := notify.NewQueue(s, notify.QueueConfig{Batch: 1})
	q.Tell(fires("a"), fires("b"))
	shut(t, q)
	want(t, s.sent(), "b firing")
	if st := q.Stats(); st.Failed != 1 || st.Delivered != 1 {
		t.Errorf("%+v", st)
	}
}

func TestWhatIsOverBeforeItIsSentIsNotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sink{fail: func(n int) error {
			if n == 1 {
				return errors.New("not now")
			}
			return nil
		}}
		q := notify.NewQueue(s, notify.QueueConfig{})
		q.Tell(fires("first"))
		synctest.Wait() // it is being tried
		q.Tell(fires("a"), ends("a"), fires("b"), ends("first"), ends("unheard"))
		shut(t, q)
		want(t, s.sent(), "first firing", "b firing", "first resolved")
	})
}

func TestAQueueIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sink{hang: true}
		q := notify.NewQueue(s, notify.QueueConfig{Limit: 10})
		q.Tell(fires("told"))
		synctest.Wait()
		for i := range 100 {
			q.Tell(fires(fmt.Sprint(i)))
		}
		q.Tell(ends("told"))
		if st := q.Stats(); st.Waiting > 10 || st.Dropped != 91 {
			t.Errorf("%+v", st)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		began := time.Now()
		if err := q.Close(ctx); err == nil {
			t.Error("closed without an error though nothing was sent")
		}
		if took := time.Since(began); took != 5*time.Second {
			t.Errorf("closed after %v", took)
		}
	})
}

func TestWhatFiresIsRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sink{repeat: time.Minute}
		q := notify.NewQueue(s, notify.QueueConfig{})
		q.Tell(fires("a"))
		time.Sleep(150 * time.Second)
		q.Tell(ends("a"))
		time.Sleep(10 * time.Minute)
		shut(t, q)
		want(t, s.sent(), "a firing", "a firing", "a firing", "a resolved")
	})
}

// with returns an alert with another text.
func with(a monitor.Alert, what string) monitor.Alert {
	a.What = what
	return a
}

// texts is a sink that records the texts of alerts.
type texts struct{ sink }

func (s *texts) Send(ctx context.Context, alerts []monitor.Alert) error {
	if err := s.sink.Send(ctx, alerts); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range alerts {
		s.got = append(s.got[:len(s.got)-1], a.Rule+" "+a.State.String()+": "+a.What)
	}
	return nil
}

func TestARepeatedAlertHasItsPresentText(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &texts{sink{repeat: time.Minute}}
		q := notify.NewQueue(s, notify.QueueConfig{})
		q.Refresh(with(fires("a"), "of an alert that was not queued"))
		q.Tell(with(fires("a"), "85%"))
		synctest.Wait()
		q.Refresh(with(fires("a"), "90%"), with(ends("a"), "a resolved one is not refreshed"))
		time.Sleep(90 * time.Second)
		q.Refresh(with(fires("a"), "95%"))
		time.Sleep(time.Minute)
		q.Tell(with(ends("a"), "86%"))
		q.Refresh(with(fires("a"), "too late"))
		shut(t, q)
		want(t, s.sent(), "a firing: 85%", "a firing: 90%", "a firing: 95%", "a resolved: 86%")
	})
}

func TestARetriedAlertHasItsPresentText(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &texts{sink{fail: func(attempt int) error {
			if attempt < 4 {
				return errors.New("down")
			}
			return nil
		}}}
		q := notify.NewQueue(s, notify.QueueConfig{})
		q.Tell(with(fires("a"), "85%"))
		synctest.Wait()
		q.Tell(with(fires("b"), "10 a second"))
		q.Refresh(with(fires("a"), "90%"), with(fires("b"), "20 a second"))
		time.Sleep(time.Hour)
		shut(t, q)
		want(t, s.sent(), "a firing: 90%", "b firing: 20 a second")
	})
}

// Whatever fails and whatever comes, each alert is heard of in turn as firing
// and as resolved, unless something was given up, and in the end as what it is,
// unless its beginning was never heard of.
func TestWhatIsHeardMakesSense(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seed := rapid.SliceOfN(rapid.IntRange(0, 9), 1, 40).Draw(t, "failures")
		s := &sink{fail: func(n int) error {
			switch seed[n%len(seed)] {
			case 0, 1, 2:
				return errors.New("not now")
			case 3:
				return notify.Permanent(errors.New("no"))
			}
			return nil
		}}
		q := notify.NewQueue(s, notify.QueueConfig{Backoff: time.Microsecond, Longest: time.Microsecond, Batch: rapid.IntRange(1, 5).Draw(t, "batch"),
			Limit: rapid.IntRange(1, 20).Draw(t, "limit"), GiveUp: time.Millisecond})
		state := map[string]monitor.AlertState{}
		for range rapid.IntRange(0, 60).Draw(t, "changes") {
			rule := rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, "rule")
			next := monitor.Firing
			if state[rule] == monitor.Firing {
				next = monitor.Resolved
			}
			state[rule] = next
			q.Tell(alert(rule, next))
		}
		shut(t, q)
		st := q.Stats()
		heard := map[string]string{}
		for _, text := range s.sent() {
			rule, now, _ := strings.Cut(text, " ")
			if now == heard[rule] && st.Failed == 0 || now == "resolved" && heard[rule] == "" {
				t.Fatalf("%s after %q, of %q", text, heard[rule], s.sent())
			}
			heard[rule] = now
		}
		if st.Failed+st.Dropped > 0 {
			return
		}
		for rule, is := range state {
			if got := heard[rule]; got != is.String() && !(got == "" && is == monitor.Resolved) {
				t.Fatalf("%s is %v: last heard of as %q", rule, is, got)
			}
		}
	})
}
