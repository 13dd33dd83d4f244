package pool

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/seed-2b0d76a6/respool/resp"
)

// A refused password concerns the user, any other refusal one identity. The server's acceptance ends both, except
// that a switch without AUTH says nothing about the user.
func TestRefusalsApplyToTheirScope(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r refusals
		r.init(time.Millisecond)
		alice, db1 := Identity{User: "alice"}, Identity{User: "alice", DB: 1}
		bob := Identity{User: "bob"}
		wrong, noDB := resp.NewServerError("WRONGPASS no"), resp.NewServerError("ERR DB index is out of range")

		if pause, err := r.of(alice); pause != 0 || err != nil || r.lastError() != nil {
			t.Errorf("before any refusal: %v, %v", pause, err)
		}
		if _, pause := r.add(db1, noDB); pause < refusalPause/2 || pause > refusalPause {
			t.Errorf("a pause of %v", pause)
		}
		if r.inPause(alice) != nil || !errors.Is(r.inPause(db1), noDB) || r.ofUser("alice") {
			t.Error("the refusal of a database concerns another one")
		}
		r.add(alice, wrong)
		if !errors.Is(r.inPause(db1), wrong) || !errors.Is(r.inPause(alice), wrong) || r.inPause(bob) != nil || !r.ofUser("alice") {
			t.Error("the refusal of a password does not concern exactly its user")
		}
		if !errors.Is(r.lastError(), wrong) {
			t.Errorf("the last refusal is %v", r.lastError())
		}
		r.accepted(db1, true)
		if !r.ofUser("alice") || !errors.Is(r.inPause(db1), wrong) {
			t.Error("without AUTH the user is accepted")
		}
		time.Sleep(refusalPause)
		if _, err := r.of(alice); r.inPause(alice) != nil || err == nil {
			t.Error("after the pause the refusal is forgotten, or callers still fail")
		}
		r.attempted(alice)
		if r.inPause(alice) == nil {
			t.Error("an attempt begins no pause")
		}
		r.accepted(alice, false)
		if r.ofUser("alice") || r.lastError() != nil {
			t.Error("the server's acceptance does not end the refusal")
		}
		r.add(bob, wrong)
		r.add(alice, wrong)
		r.forgive("bob")
		if r.ofUser("bob") || !r.ofUser("alice") {
			t.Error("another user is forgiven")
		}
	})
}

// A server that is BUSY is tried soon, and then less and less often.
func TestPausesGrowWhileTheServerIsBusy(t *testing.T) {
	var r refusals
	r.init(8 * time.Millisecond)
	busy := resp.NewServerError("BUSY a script runs")
	for i := range 30 {
		most := min(refusalPause, 8*time.Millisecond<<min(i, 20))
		if _, pause := r.add(Identity{DB: 1}, busy); pause < most/2 || pause > most {
			t.Fatalf("pause %d is %v: want %v to %v", i+1, pause, most/2, most)
		}
	}
}

// Full, the refusals whose pause is over go first.
func TestRefusalsAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r refusals
		r.init(time.Millisecond)
		wrong := resp.NewServerError("WRONGPASS no")
		for i := range maxRefusals - 1 {
			r.add(Identity{User: fmt.Sprint(i)}, wrong)
		}
		time.Sleep(2 * refusalPause)
		r.add(Identity{User: "late"}, wrong)
		r.add(Identity{User: "later"}, wrong)
		if len(r.all) != 2 || !r.ofUser("late") || !r.ofUser("later") {
			t.Errorf("%d refusals are left: want those of the last pause", len(r.all))
		}
		for i := range 2 * maxRefusals {
			r.add(Identity{User: fmt.Sprint(i)}, wrong)
		}
		if len(r.all) > maxRefusals {
			t.Errorf("%d refusals", len(r.all))
		}
	})
}

// An alarm rings once, at the earliest time, and can be set again when it rings.
func TestAnAlarmRingsAtTheEarliestTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var a alarm
		var rung []time.Duration
		began := time.Now()
		a.call = func() {
			mu.Lock()
			defer mu.Unlock()
			a.ring()
			if rung = append(rung, time.Since(began)); len(rung) == 1 {
				a.within(time.Second)
			}
		}
		after := func(what string, do func(), want ...time.Duration) {
			t.Helper()
			mu.Lock()
			do()
			mu.Unlock()
			time.Sleep(time.Minute)
			mu.Lock()
			defer mu.Unlock()
			if !slices.Equal(rung, want) {
				t.Errorf("%s: it rang after %v, want %v", what, rung, want)
			}
		}
		after("three requests", func() {
			a.stop() // it is not set yet
			a.within(5 * time.Second)
			a.within(2 * time.Second)
			a.within(3 * time.Second)
		}, 2*time.Second, 3*time.Second)
		after("a stop", func() {
			a.within(time.Second)
			a.stop()
		}, 2*time.Second, 3*time.Second)
	})
}

// The last used conn is on top. A conn that was only checked keeps its place.
func TestIdleConnsAreInTheOrderOfTheirUse(t *testing.T) {
	var s idleConns
	var b [4]*member
	for i := range b {
		b[i] = &member{class: idle, idleSince: time.Unix(int64(i), 0)}
		s.push(b[i])
	}
	want := func(what string, conns ...*member) {
		t.Helper()
		if !slices.Equal(s.all(), conns) || s.len() != len(conns) {
			t.Errorf("%s: %v, want %v", what, s.all(), conns)
		}
	}
	anyConn := func(*member) bool { return true }
	older := func(c *member) bool { return c.idleSince.Unix() < 2 }
	none := func(*member) bool { return false }
	if s.top(older) != b[1] || s.bottom(anyConn) != b[0] || s.top(none) != nil || s.bottom(none) != nil || s.pop(none) != nil {
		t.Error("the wrong conn fits")
	}
	s.remove(b[1])
	s.remove(b[1])
	want("one removed", b[0], b[2], b[3])
	s.insert(b[1])
	want("inserted again", b[0], b[1], b[2], b[3])
	if s.popBottom() != b[0] || s.pop(anyConn) != b[3] {
		t.Error("the wrong conn was popped")
	}
	want("both ends popped", b[1], b[2])
}

// Whatever joins and leaves, in any order, the line serves in order of arrival.
func TestTheLineKeepsTheOrderOfArrival(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var l waitLine
		subpools := []*Subpool{{}, {}, {}}
		var waits []*waiter // in order of arrival
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			if len(waits) > 0 && rapid.Bool().Draw(t, "leaves") {
				i := rapid.IntRange(0, len(waits)-1).Draw(t, "who")
				if !l.leave(waits[i]) || l.leave(waits[i]) {
					t.Fatal("a waiter left not exactly once")
				}
				waits = slices.Delete(waits, i, i+1)
			} else {
				w := &waiter{subpool: rapid.SampledFrom(subpools).Draw(t, "subpool"), want: shared}
				if rapid.Bool().Draw(t, "for a conn") {
					w.want = dedicated
				}
				l.join(w)
				waits = append(waits, w)
			}
			checkLine(t, &l, subpools, waits)
		}
	})
}

// checkLine compares a line with its waiters in order of arrival.
func checkLine(t *rapid.T, l *waitLine, subpools []*Subpool, waits []*waiter) {
	var first *waiter
	if len(waits) > 0 {
		first = waits[0]
	}
	if l.waiting != len(waits) || l.first() != first {
		t.Fatalf("%d wait, and the first is %v: want %d and %v", l.waiting, l.first(), len(waits), first)
	}
	var forLane []*Subpool
	for _, w := range waits {
		if w.want == shared && !slices.Contains(forLane, w.subpool) {
			forLane = append(forLane, w.subpool)
			if w.subpool.waitLane.First() != w {
				t.Fatal("the first lane waiter of a subpool is another")
			}
		}
	}
	if !slices.Equal(l.forLane, forLane) {
		t.Fatalf("subpools in the order %v, want %v", l.forLane, forLane)
	}
	for _, g := range subpools {
		i := slices.IndexFunc(waits, func(w *waiter) bool { return w.subpool == g && w.want != shared })
		if got := l.firstOf(g); i < 0 && got != nil || i >= 0 && got != waits[i] {
			t.Fatalf("the first waiter for a conn is %v", got)
		}
	}
}

// The calls run in order and without the lock. A call that they queue runs as well.
func TestQueuedCallsRunWithoutTheLock(t *testing.T) {
	var mu sync.Mutex
	var q callQueue
	var made []int
	call := func(n int) func() {
		return func() {
			mu.Lock()
			defer mu.Unlock()
			if made = append(made, n); q.empty() {
				t.Error("it counts as done while it runs")
			}
			if n == 1 {
				q.add(func() { made = append(made, 3) })
			}
		}
	}
	mu.Lock()
	q.add(call(1))
	q.add(call(2))
	q.run(&mu)
	if !slices.Equal(made, []int{1, 2, 3}) || !q.empty() {
		t.Errorf("calls %v", made)
	}
	mu.Unlock()
}

// The gate limits the dials in flight, their rate, and retries of refused identities. After a failure it admits one
// dial at a time, after a pause.
func TestTheGateAdmitsDials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d dialGate
		d.init(&Config{Max: 8, DialParallel: 4, DialRate: 1, BackoffBase: time.Second, BackoffCap: 4 * time.Second})
		begin := func(retry, want bool) (wait time.Duration) {
			t.Helper()
			wait, ok := d.begin(retry)
			if ok != want {
				t.Errorf("a dial was admitted: %v, want %v", ok, want)
			}
			return wait
		}
		end := func() {
			for d.inFlight > 0 {
				d.end()
			}
		}
		begin(true, true)
		begin(true, true)
		if began := d.since; begin(true, false) != 0 || began.IsZero() {
			t.Error("a retry waits for a time, instead of for a dial in flight")
		}
		begin(false, true)
		begin(false, true)
		if begin(false, false) != 0 || !d.full() {
			t.Error("more than DialParallel dials")
		}
		end()
		if wait := begin(true, false); wait != time.Second { // 4 of 8 tokens are left, and a retry needs 5
			t.Errorf("a retry waits %v for a token, want 1s", wait)
		}
		for range 4 {
			begin(false, true)
		}
		end()
		if wait := begin(false, false); wait != time.Second {
			t.Errorf("wait of %v for a token, want 1s", wait)
		}
		time.Sleep(time.Hour)
		d.failed(errors.New("refused"))
		wait := begin(false, false)
		if wait < time.Second/2 || wait > time.Second || !d.pausing() {
			t.Errorf("a pause of %v after a failure", wait)
		}
		time.Sleep(wait)
		begin(false, true)
		if begin(false, false) != 0 {
			t.Error("a second dial before the first has shown that the node accepts conns")
		}
		d.end()
		d.succeeded()
		begin(false, true)
		begin(false, true)
	})
}

// One sign is no proof of a dead path: the second must come after the patience, with no byte between.
func TestAPathIsDeadAfterTwoSigns(t *testing.T) {
	const patience = 4 * time.Second
	now := time.Unix(1000, 0)
	var d doubts
	for i, step := range []struct {
		explained, known bool
		mark             uint64
		after            time.Duration
		want             verdict
	}{
		{known: true, mark: 7, want: undecided},
		{known: true, mark: 7, after: patience / 2, want: undecided}, // too soon
		{known: true, mark: 7, after: patience / 4, want: dead},
		{known: true, mark: 8, after: patience, want: undecided}, // bytes came
		{known: false, mark: 8, after: patience, want: undecided},
		{known: true, mark: 8, after: patience, want: undecided}, // so this is the first sign
		{explained: true, known: true, mark: 8, after: patience, want: excused},
		{known: true, mark: 8, after: patience, want: undecided},
		{known: true, mark: 8, after: patience, want: dead},
	} {
		now = now.Add(step.after)
		if got := d.answered(step.explained, step.known, step.mark, now, patience); got != step.want {
			t.Errorf("step %d: verdict %d, want %d", i, got, step.want)
		}
		if step.want == excused && !d.excused.Equal(now) {
			t.Error("the excuse is not recorded")
		}
	}
}
