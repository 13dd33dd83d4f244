package blocking

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// A return that fails after Close is lost. It is not sent again.
func TestNoReturnIsSentAgainAfterClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		lost := 0
		s := New(Config{Sender: m, Watcher: m, Lost: func(string, error) { lost++ }})
		w, _ := start(t, s, "BLPOP a 0")
		m.hold = true
		m.push("a", "x")
		w.Abandon(errors.New("left"))
		m.mu.Lock()
		fetch := m.held[0]
		m.held = nil
		m.mu.Unlock()
		fetch.Done(Outcome{Reply: m.outcome(fetch).Reply})
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if err := s.Close(ctx); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		m.mu.Lock()
		back := m.held[0]
		m.held = nil
		m.mu.Unlock()
		back.Done(Outcome{Err: errors.New("no connection")})
		time.Sleep(10 * time.Second)
		if len(m.held) != 0 || lost != 1 {
			t.Errorf("%d attempts after Close, %d elements lost: want 0, 1", len(m.held), lost)
		}
	})
}

// A return that a server refuses in a passing state is sent again.
func TestAReturnThatIsRefusedForAWhileIsSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		s := New(Config{Sender: m, Watcher: m, Lost: func(key string, err error) { t.Errorf("%s is lost: %v", key, err) }})
		w, _ := start(t, s, "BLPOP a 0")
		m.hold = true
		m.push("a", "x")
		w.Abandon(errors.New("left"))
		refusals := 3
		m.answer = func(a *Attempt) *Outcome {
			if a.Return && refusals > 0 {
				refusals--
				return &Outcome{Reply: []byte("-NOREPLICAS x\r\n")}
			}
			return nil
		}
		m.release()
		time.Sleep(time.Second)
		if list := m.list("a"); len(list) != 1 || refusals > 0 {
			t.Errorf("the list has %q, and %d refusals are left", list, refusals)
		}
		if n := s.Stats().Commands["BLPOP"].GivenBack; n != 1 {
			t.Errorf("%d elements are counted as given back", n)
		}
		closeWaits(t, s)
	})
}

// A wait whose ctx ends, or whose Waits closes, ends with that reason, not with the failure of its first attempt.
func TestAWaitThatLeavesDoesNotEndWithTheFailureOfItsAttempt(t *testing.T) {
	m := newMemory()
	s := New(Config{Sender: m, Watcher: m})
	m.hold = true
	m.answer = func(*Attempt) *Outcome { return &Outcome{Err: errors.New("no connection")} }
	w, done := start(t, s, "BLPOP a 0")
	w.Cancel(errors.New("canceled"))
	m.release()
	expect(t, done, "canceled")
	closeWaits(t, s)
}

// Identities that failed are forgotten.
func TestFailuresOfIdentitiesAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		s := New(Config{Sender: m, Watcher: m})
		m.answer = func(a *Attempt) *Outcome {
			if a.Identity.(int) > 0 {
				return &Outcome{Err: errors.New("no connection")}
			}
			return nil
		}
		for i := 1; i <= 100; i++ {
			r := request("BLPOP a 0")
			r.Identity = i
			if _, err := s.Start(r, func(Result) {}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(2 * time.Minute)
		_, done := start(t, s, "BLPOP a 0.001")
		time.Sleep(time.Second)
		expect(t, done, null)
		if n := len(s.core.parked); n != 0 {
			t.Errorf("%d identities", n)
		}
		closeWaits(t, s)
	})
}
