package blocking

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

func TestWaitsAreServedInOrder(t *testing.T) {
	m := newMemory()
	s := New(Config{Sender: m, Watcher: m})
	_, first := start(t, s, "BLPOP a 0")
	_, second := start(t, s, "BLPOP a 0")
	expect(t, first, waitsOn)
	m.push("a", "x", "y")
	expect(t, first, popX)
	expect(t, second, popY)
	if len(m.subs) != 0 {
		t.Errorf("%d keys are watched after the last wait", len(m.subs))
	}
	closeWaits(t, s)
}

func TestTimeoutsAreKeptHere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		s := New(Config{Sender: m, Watcher: m})
		began := time.Now()
		var waits []chan Result
		const n = 1000
		for i := range n {
			_, done := start(t, s, fmt.Sprintf("BLPOP k%d %d", i, 1+i%7))
			waits = append(waits, done)
		}
		for i, done := range waits {
			if i%7 == 6 {
				<-done
				if took := time.Since(began); took != 7*time.Second {
					t.Fatalf("a timeout of 7 s took %v", took)
				}
			}
		}
		for i, done := range waits {
			if i%7 != 6 {
				expect(t, done, null)
			}
		}
		st := s.Stats()
		if c := st.Commands["BLPOP"]; c.TimedOut != n || st.Waiting != 0 || st.Keys != 0 || c.Longest != 7*time.Second {
			t.Errorf("stats %+v", st)
		}
		closeWaits(t, s)
	})
}

func TestDoReturnsDataThatAnAttemptInFlightFinds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		s := New(Config{Sender: m, Watcher: m})
		ctx, cancel := context.WithCancel(context.Background())
		got := make(chan Result, 1)
		go func() {
			r, err := s.Do(ctx, request("BLPOP a 0"))
			got <- Result{r, err}
		}()
		synctest.Wait()
		m.hold = true
		m.push("a", "x")
		cancel()
		synctest.Wait()
		expect(t, got, waitsOn)
		m.release()
		synctest.Wait()
		expect(t, got, popX)

		if _, err := s.Do(ctx, request("BLPOP a 0")); !errors.Is(err, context.Canceled) {
			t.Errorf("Do with an ended ctx returned %v", err)
		}
		closeWaits(t, s)
	})
}

func TestDoReturnsAtTheEndOfTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		s := New(Config{Sender: m, Watcher: m})
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if _, err := s.Do(ctx, request("BLPOP a 0")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Do returned %v", err)
		}
		if st := s.Stats(); st.Waiting != 0 || st.Commands["BLPOP"].Canceled != 1 {
			t.Errorf("stats %+v", st)
		}
		closeWaits(t, s)
	})
}

// A canceled wait ends with the attempt in flight, not at the end of the grace.
func TestCancelEndsWithTheAttemptInFlight(t *testing.T) {
	m := newMemory()
	s := New(Config{Sender: m, Watcher: m, Grace: time.Hour})
	m.hold = true
	w, done := start(t, s, "BLPOP a 0")
	w.Cancel(errors.New("canceled"))
	expect(t, done, waitsOn)
	m.release()
	expect(t, done, "canceled")
	closeWaits(t, s)
}

// A reply that does not come in time goes back to its key.
func TestElementsForNobodyGoBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		s := New(Config{Sender: m, Watcher: m, Grace: time.Second})
		w, done := start(t, s, "BLPOP a 0")
		m.hold = true
		m.push("a", "x", "y")
		w.Cancel(errors.New("canceled"))
		time.Sleep(2 * time.Second)
		expect(t, done, "canceled")
		m.release()
		if got := fmt.Sprint(m.list("a")); got != "[x y]" {
			t.Errorf("the list is %s", got)
		}
		if c := s.Stats().Commands["BLPOP"]; c.GivenBack != 1 || c.Canceled != 1 {
			t.Errorf("stats %+v", c)
		}
		closeWaits(t, s)
	})
}

func TestAbandonedWaitsLeaveTheirElementsToTheNext(t *testing.T) {
	m := newMemory()
	s := New(Config{Sender: m, Watcher: m})
	w, gone := start(t, s, "BLPOP a 0")
	_, next := start(t, s, "BLMPOP 0 1 a LEFT COUNT 5")
	m.hold = true
	m.push("a", "x")
	w.Abandon(errors.New("gone"))
	expect(t, gone, "gone")
	m.release()
	expect(t, next, "*2\r\n$1\r\na\r\n*1\r\n$1\r\nx\r\n")
	closeWaits(t, s)
}

// The next in line takes other elements, so those for nobody go back, to the same end.
func TestElementsGoBackBeforeAnotherKindTakes(t *testing.T) {
	m := newMemory()
	s := New(Config{Sender: m, Watcher: m})
	w, _ := start(t, s, "BLPOP a 0")
	_, next := start(t, s, "BRPOP a 0")
	m.hold = true
	m.push("a", "x", "y")
	w.Abandon(errors.New("gone"))
	m.release()
	expect(t, next, popY)
	if got := fmt.Sprint(m.list("a")); got != "[x]" {
		t.Errorf("the list is %s", got)
	}
	closeWaits(t, s)
}

func TestARefusedReturnIsReported(t *testing.T) {
	m := newMemory()
	var lost []string
	s := New(Config{Sender: m, Watcher: m, Lost: func(key string, err error) { lost = append(lost, key+": "+err.Error()) }})
	w, _ := start(t, s, "BLPOP a 0")
	m.hold = true
	m.push("a", "x")
	w.Abandon(errors.New("gone"))
	m.answer = func(a *Attempt) *Outcome {
		if a.Return {
			return &Outcome{Reply: []byte("-WRONGTYPE no list\r\n")}
		}
		return nil
	}
	m.release()
	if got := fmt.Sprint(lost); got != "[a: WRONGTYPE no list]" {
		t.Errorf("lost %s", got)
	}
	if c := s.Stats().Commands["BLPOP"]; c.Lost != 1 {
		t.Errorf("stats %+v", c)
	}
	closeWaits(t, s)
}

func TestUnblock(t *testing.T) {
	m := newMemory()
	s := New(Config{Sender: m, Watcher: m})
	w, done := start(t, s, "BLPOP a 0")
	if !w.Unblock(false) {
		t.Error("Unblock reports that the command does not wait")
	}
	expect(t, done, null)
	if w.Unblock(true) {
		t.Error("Unblock reports that the command waits")
	}
	w, done = start(t, s, "BLPOP a 0")
	w.Unblock(true)
	expect(t, done, "-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n")
	closeWaits(t, s)
}

func TestMaxBlocked(t *testing.T) {
	m := newMemory()
	s := New(Config{Sender: m, Watcher: m, MaxBlocked: 1})
	w, _ := start(t, s, "BLPOP a 0")
	if _, err := s.Start(request("BLPOP a 0"), nil); !errors.Is(err, ErrTooManyBlocked) {
		t.Errorf("Start returned %v", err)
	}
	w.Cancel(nil)
	start(t, s, "BLPOP a 0")
	closeWaits(t, s)
}

func TestCloseEndsEveryWait(t *testing.T) {
	m := newMemory()
	s := New(Config{Sender: m, Watcher: m})
	_, idle := start(t, s, "BLPOP a 0")
	m.hold = true
	_, trying := start(t, s, "BLPOP b 0")
	closed := make(chan error, 2)
	for range 2 {
		go func() { closed <- s.Close(context.Background()) }()
	}
	r := <-idle
	if !errors.Is(r.Err, ErrClosed) {
		t.Errorf("the wait ended with %v", r.Err)
	}
	if _, err := s.Start(request("BLPOP a 0"), nil); !errors.Is(err, ErrClosed) {
		t.Errorf("Start returned %v", err)
	}
	m.push("b", "x")
	m.release()
	if r := <-trying; string(r.Reply) != "*2\r\n$1\r\nb\r\n$1\r\nx\r\n" {
		t.Errorf("the wait with an attempt in flight ended with %q, %v", r.Reply, r.Err)
	}
	for range 2 {
		if err := <-closed; err != nil {
			t.Error(err)
		}
	}
	m.hold = true
}

func TestCloseEndsAtTheEndOfTheContext(t *testing.T) {
	m := newMemory()
	m.hold = true
	s := New(Config{Sender: m, Watcher: m})
	_, done := start(t, s, "BLPOP a 0")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Close(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Close returned %v", err)
	}
	if r := <-done; !errors.Is(r.Err, ErrClosed) {
		t.Errorf("the wait ended with %v", r.Err)
	}
	m.release()
}

func TestWaitsContinueOnAnotherNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old, other := newMemory(), newMemory()
		s := New(Config{Sender: old, Watcher: old})
		_, done := start(t, s, "BLPOP a 10")
		_, late := start(t, s, "BLPOP b 10")
		s.Suspend()
		old.push("a", "stale")
		expect(t, done, waitsOn)
		time.Sleep(9 * time.Second)
		other.push("a", "x")
		s.Resume(other, other)
		expect(t, done, popX)
		time.Sleep(time.Second)
		synctest.Wait()
		expect(t, late, null)
		closeWaits(t, s)
	})
}

func TestFailedAttemptsAreRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		s := New(Config{Sender: m, Watcher: m})
		_, done := start(t, s, "BLPOP a 0")
		expect(t, done, waitsOn)
		failures := 3
		m.answer = func(*Attempt) *Outcome {
			if failures--; failures >= 0 {
				return &Outcome{Err: errors.New("refused"), Sent: failures == 1}
			}
			return nil
		}
		m.push("a", "x")
		time.Sleep(time.Second)
		expect(t, done, popX)
		if c := s.Stats().Commands["BLPOP"]; c.Lost != 1 || failures > 0 {
			t.Errorf("stats %+v with %d failures left", c, failures)
		}

		_, done = start(t, s, "BLPOP a 0")
		expect(t, done, waitsOn)
		m.answer = func(*Attempt) *Outcome { return &Outcome{Err: errors.New("no such user"), Final: true} }
		m.push("a", "x")
		expect(t, done, "no such user")
		closeWaits(t, s)
	})
}

// A wait that has had no reply yet ends with the failure, like any other command. The others continue.
func TestTheFirstAttemptFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		s := New(Config{Sender: m, Watcher: m})
		m.answer = func(*Attempt) *Outcome { return &Outcome{Reply: []byte(null)} }
		_, waits := start(t, s, "BLPOP a 0")
		_, reads := start(t, s, "XREAD BLOCK 0 STREAMS s 0")
		expect(t, waits, waitsOn)
		m.answer = func(*Attempt) *Outcome { return &Outcome{Err: errors.New("no node")} }
		for _, command := range []string{"BLPOP a 0", "BLPOP b 0", "BLMOVE a c LEFT LEFT 0", "XREAD BLOCK 0 STREAMS s $", "XREAD BLOCK 0 STREAMS s 0"} {
			_, done := start(t, s, command)
			time.Sleep(10 * time.Second)
			if got := reply(t, done); got != "no node" {
				t.Errorf("%s ended with %q: want the failure", command, got)
			}
		}
		expect(t, waits, waitsOn)
		expect(t, reads, waitsOn)
		synctest.Wait()
		m.answer = nil
		m.push("a", "x")
		time.Sleep(10 * time.Second)
		expect(t, waits, popX)
		closeWaits(t, s)
	})
}

func TestAKeyThatCannotBeWatchedEndsItsWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		s := New(Config{Sender: m, Watcher: m})
		_, one := start(t, s, "BLPOP a 0")
		_, two := start(t, s, "BRPOP b a 0")
		_, other := start(t, s, "BLPOP b 0")
		m.hold = true
		m.push("a", "x")
		s.Refuse("a")
		expect(t, two, ErrDedicated.Error())
		m.release()
		synctest.Wait()
		expect(t, one, popX) // its attempt was in flight
		s.Refuse("unknown")
		expect(t, other, waitsOn)
		closeWaits(t, s)
	})
}

// A command whose timeout passes before its first attempt ends does not report that there is no data.
func TestATimeoutWaitsForTheFirstAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		s := New(Config{Sender: m, Watcher: m, Grace: time.Second})
		m.hold = true
		var waits []chan Result
		for _, command := range []string{"BLPOP a 1", "BLPOP a 1", "BRPOP a 1", "XREAD BLOCK 1000 STREAMS s 0"} {
			_, done := start(t, s, command)
			waits = append(waits, done)
		}
		canceled, left := start(t, s, "BLPOP b 1")
		time.Sleep(time.Minute)
		for _, done := range waits {
			expect(t, done, waitsOn)
		}
		canceled.Cancel(context.Canceled)
		time.Sleep(2 * time.Second)
		expect(t, left, context.Canceled.Error())
		m.push("a", "x", "y")
		m.answer = func(a *Attempt) *Outcome {
			if string(a.Args[0]) == "XREAD" {
				return &Outcome{Reply: []byte(null)}
			}
			return nil
		}
		for len(m.held) > 0 {
			m.release()
			synctest.Wait()
		}
		expect(t, waits[0], popX)
		expect(t, waits[1], popY)
		expect(t, waits[2], null)
		expect(t, waits[3], null)
		closeWaits(t, s)
		if st := s.Stats(); st.Waiting != 0 || st.Keys != 0 {
			t.Errorf("stats %+v", st)
		}
	})
}

// The same holds for XREAD, which resolves $ before its first attempt.
func TestATimeoutWaitsForTheFirstAttemptAfterTheLastID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const entries = "*1\r\n*2\r\n$1\r\ns\r\n*0\r\n"
		m := newMemory()
		s := New(Config{Sender: m, Watcher: m})
		m.answer = func(a *Attempt) *Outcome {
			if string(a.Args[0]) == "XREVRANGE" {
				return &Outcome{Reply: []byte("*0\r\n")}
			}
			return &Outcome{Reply: []byte(entries)}
		}
		m.hold = true
		_, done := start(t, s, "XREAD BLOCK 1000 STREAMS s r 0 $")
		time.Sleep(time.Minute)
		m.release()
		expect(t, done, entries)
		closeWaits(t, s)
	})
}

// Close waits for the attempts in flight as long as its ctx allows, so that what they find has a receiver.
func TestCloseWaitsForAttemptsInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		s := New(Config{Sender: m, Watcher: m, Grace: time.Millisecond})
		_, done := start(t, s, "BLPOP a 0")
		_, idle := start(t, s, "BLPOP b 0")
		synctest.Wait()
		m.hold = true
		m.push("a", "x")
		closed := make(chan error, 1)
		go func() { closed <- s.Close(t.Context()) }()
		time.Sleep(time.Minute)
		expect(t, idle, ErrClosed.Error())
		expect(t, done, waitsOn)
		m.release()
		synctest.Wait()
		expect(t, done, popX)
		if err := <-closed; err != nil {
			t.Error(err)
		}
	})
}

// A caller lets others start their waits first if they are about to: waits that a reply has just ended often begin again.
func TestWaitsThatEndTogetherMayBeginTogether(t *testing.T) {
	m := newMemory()
	s := New(Config{Sender: m, Watcher: m})
	company := func() bool {
		w := &Wait{form: request("BLPOP b 0").Form, done: func(Result) {}}
		var found bool
		s.do(func(c *core) {
			if err := c.add(w); err != nil {
				t.Error(err)
			}
			found = c.company(w)
		})
		w.waits = s
		w.Abandon(nil)
		return found
	}
	if company() {
		t.Error("the only wait expects others")
	}
	var waits []chan Result
	for range 3 {
		_, done := start(t, s, "BLPOP a 0")
		waits = append(waits, done)
	}
	m.push("a", "1", "2", "3")
	for _, done := range waits {
		<-done
	}
	if first, second := company(), company(); !first || !second {
		t.Error("two waits of three that ended together do not expect another")
	}
	if company() {
		t.Error("the last of three waits that ended together expects another")
	}
	closeWaits(t, s)
}
