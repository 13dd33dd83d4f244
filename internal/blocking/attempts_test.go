package blocking

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/testkit"
)

func TestErrorsOfTheServer(t *testing.T) {
	for _, tt := range []struct {
		line, first, later string // the server's error, and the end of the wait
	}{
		{"BLPOP a 0", "-WRONGTYPE x\r\n", waitsOn},
		{"BLPOP a b 0", "-WRONGTYPE x\r\n", waitsOn},
		{"BLPOP a 0", "-LOADING x\r\n", waitsOn},
		{"BLPOP a 0", "-READONLY x\r\n", waitsOn},
		{"BLPOP a 0", "-NOREPLICAS x\r\n", waitsOn},
		{"BLPOP a 0", "-MISCONF x\r\n", waitsOn},
		{"BLMOVE a b LEFT LEFT 0", "-OOM x\r\n", "-OOM x\r\n"},
		{"BLMOVE a b LEFT LEFT 0", "-WRONGTYPE x\r\n", waitsOn}, // LLEN fails too: it is the source
		{"XREAD BLOCK 0 STREAMS a 0", "-WRONGTYPE x\r\n", waitsOn},
		{"XREAD BLOCK 0 STREAMS a b 0 0", "-WRONGTYPE x\r\n", waitsOn},
		{"XREADGROUP GROUP g c BLOCK 0 STREAMS a >", "-WRONGTYPE x\r\n", "-WRONGTYPE x\r\n"},
		{"XREADGROUP GROUP g c BLOCK 0 STREAMS a >", "-NOGROUP x\r\n", "-NOGROUP x\r\n"},
		{"BLPOP a 0", "-NOPERM x\r\n", ErrDedicated.Error()},
		{"BLMPOP 0 1 a LEFT", "-ERR unknown command `LMPOP`\r\n", ErrDedicated.Error()},
	} {
		synctest.Test(t, func(t *testing.T) {
			m := newMemory()
			s := New(Config{Sender: m, Watcher: m})
			m.answer = func(*Attempt) *Outcome { return &Outcome{Reply: []byte(tt.first)} }
			_, done := start(t, s, tt.line)
			want := tt.first
			if tt.later == ErrDedicated.Error() {
				want = tt.later
			}
			expect(t, done, want)

			m.answer = func(*Attempt) *Outcome { return &Outcome{Reply: []byte("*-1\r\n")} }
			w, done := start(t, s, tt.line)
			m.answer = func(*Attempt) *Outcome { return &Outcome{Reply: []byte(tt.first)} }
			m.push("a")
			expect(t, done, tt.later)
			w.Abandon(nil)
			closeWaits(t, s)
		})
	}
}

// One XREAD serves all waits with the same arguments, and each owns its reply.
func TestReadsShareACommand(t *testing.T) {
	m := newMemory()
	m.answer = func(*Attempt) *Outcome { return &Outcome{Reply: []byte("*-1\r\n")} }
	s := New(Config{Sender: m, Watcher: m})
	var waits []chan Result
	for range 3 {
		_, done := start(t, s, "XREAD BLOCK 0 STREAMS a 0")
		waits = append(waits, done)
	}
	const entries = "*1\r\n*2\r\n$1\r\na\r\n*0\r\n"
	m.log, m.sent = true, nil
	m.answer = func(*Attempt) *Outcome { return &Outcome{Reply: []byte(entries)} }
	m.push("a")
	if len(m.sent) != 1 {
		t.Errorf("sent %q", m.sent)
	}
	for _, done := range waits {
		r := <-done
		if string(r.Reply) != entries {
			t.Errorf("reply %q", r.Reply)
		}
		clear(r.Reply)
	}
	closeWaits(t, s)
}

// Several consumers of a group read at the same time once there is data, so that a stream is not limited to one entry
// for each round trip.
func TestConsumersReadAtTheSameTime(t *testing.T) {
	m := newMemory()
	m.answer = func(*Attempt) *Outcome { return &Outcome{Reply: []byte("*-1\r\n")} }
	s := New(Config{Sender: m, Watcher: m})
	var waits []chan Result
	const n = 20
	for i := range n {
		_, done := start(t, s, fmt.Sprintf("XREADGROUP GROUP g c%d COUNT 1 BLOCK 0 STREAMS a >", i))
		waits = append(waits, done)
	}
	m.answer = func(*Attempt) *Outcome { return &Outcome{Reply: []byte("*1\r\n*2\r\n$1\r\na\r\n*0\r\n")} }
	m.hold = true
	m.push("a")
	rounds, most := 0, 0
	for len(m.held) > 0 {
		held := m.held
		m.held = nil
		rounds++
		most = max(most, len(held))
		for _, a := range held {
			a.Done(m.outcome(a))
		}
		s.Changed("a")
	}
	for i, done := range waits {
		if reply(t, done) == waitsOn {
			t.Errorf("consumer %d still waits", i)
		}
	}
	if rounds >= n || most < 2 {
		t.Errorf("%d consumers took %d rounds, at most %d at a time", n, rounds, most)
	}
	m.hold = false
	closeWaits(t, s)
}

// XREAD with $ waits for entries above the last one, which it asks for once.
func TestTheLastIDIsResolvedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		m.log = true
		m.answer = func(a *Attempt) *Outcome {
			switch {
			case string(a.Args[0]) == "XREVRANGE" && string(a.Args[1]) == "a":
				return &Outcome{Reply: []byte("*1\r\n*2\r\n$3\r\n7-1\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n")}
			case string(a.Args[0]) == "XREVRANGE":
				return &Outcome{Reply: []byte("*0\r\n")}
			}
			return &Outcome{Reply: []byte("*-1\r\n")}
		}
		s := New(Config{Sender: m, Watcher: m})
		w, _ := start(t, s, "XREAD BLOCK 0 STREAMS a b $ $")
		time.Sleep(time.Second)
		m.push("b")
		const read = "XREAD STREAMS a b 7-1 0-0"
		last := func(key string) string { return "XREVRANGE " + key + " + - COUNT 1" }
		want := []string{last("a"), last("b"), read, read, read}
		if !slices.Equal(m.sent, want) {
			t.Errorf("sent %q: want %q", m.sent, want)
		}
		w.Abandon(nil)
		closeWaits(t, s)
	})
}

func TestTheLastIDIsRefused(t *testing.T) {
	for answer, want := range map[string]string{
		"-NOPERM x\r\n":    ErrDedicated.Error(),
		"-WRONGTYPE x\r\n": "-WRONGTYPE x\r\n",
		"*1\r\n:1\r\n":     "respool: read a reply for XREAD: want an entry of a stream",
	} {
		m := newMemory()
		m.answer = func(*Attempt) *Outcome { return &Outcome{Reply: []byte(answer)} }
		s := New(Config{Sender: m, Watcher: m})
		_, done := start(t, s, "XREAD BLOCK 0 STREAMS a $")
		expect(t, done, want)
		closeWaits(t, s)
	}
}

// A server before Redis 7.0 lacks LMPOP, and one before 6.2 the count of LPOP. The first refusal teaches that.
func TestOldServers(t *testing.T) {
	m := newMemory()
	m.server.old, m.log = true, true
	s := New(Config{Sender: m, Watcher: m})
	_, first := start(t, s, "BLPOP a b 0")
	_, second := start(t, s, "BLPOP a b 0")
	m.push("b", "x", "y")
	for _, done := range []chan Result{first, second} {
		if got := reply(t, done); got == waitsOn {
			t.Error("the command still waits")
		}
	}
	if n := countPrefix(m.sent, "LMPOP"); n != 1 {
		t.Errorf("LMPOP was sent %d times: %q", n, m.sent)
	}
	closeWaits(t, s)
}

func countPrefix(lines []string, prefix string) (n int) {
	for _, line := range lines {
		if strings.HasPrefix(line, prefix) {
			n++
		}
	}
	return n
}

// Callers come, leave and are served at the same time. Each element arrives once.
func TestManyCallers(t *testing.T) {
	m := newMemory()
	s := New(Config{Sender: m, Watcher: m})
	const pushers, workers, each = 4, 32, 500
	var mu sync.Mutex
	got := map[string]int{}
	ctx, stop := context.WithCancel(context.Background())
	var work, pushing sync.WaitGroup
	for i := range workers {
		work.Go(func() {
			line := []string{"BLPOP a b 0", "BRPOP b a 0", "BLMPOP 0 2 a b LEFT COUNT 3", "BLPOP a 0.001"}[i%4]
			for turn := 0; ctx.Err() == nil; turn++ {
				caller, cancel := context.WithCancel(ctx)
				if turn%5 == 0 {
					go cancel()
				}
				r, err := s.Do(caller, request(line))
				cancel()
				if err != nil {
					continue
				}
				_, elements := elementsOf(r)
				mu.Lock()
				for _, e := range elements {
					got[e]++
				}
				mu.Unlock()
			}
		})
	}
	for p := range pushers {
		pushing.Go(func() {
			for i := range each {
				m.push([]string{"a", "b"}[i%2], fmt.Sprintf("%d-%d", p, i))
			}
		})
	}
	pushing.Wait()
	testkit.Eventually(t, "every element has arrived", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(got) == pushers*each
	})
	stop()
	work.Wait()
	closeWaits(t, s)
	for e, n := range got {
		if n != 1 {
			t.Errorf("%s arrived %d times", e, n)
		}
	}
	if st := s.Stats(); st.Waiting != 0 || st.Keys != 0 || st.InFlight != 0 {
		t.Errorf("left %+v", st)
	}
}

// A change during an attempt makes the wait try again, because the attempt may have missed it.
func TestAChangeDuringAnAttemptIsTried(t *testing.T) {
	m := newMemory()
	s := New(Config{Sender: m, Watcher: m})
	_, done := start(t, s, "BLPOP a 0")
	m.hold = true
	s.Changed("a")
	early := m.held[0]
	m.held = nil
	m.push("a", "x")
	early.Done(Outcome{Reply: []byte("$-1\r\n")})
	m.release()
	expect(t, done, popX)
	closeWaits(t, s)
}

// A wait with an attempt in flight on one key keeps its place on its other keys.
func TestAnAttemptOnOneKeyKeepsThePlaceOnOthers(t *testing.T) {
	m := newMemory()
	s := New(Config{Sender: m, Watcher: m})
	_, first := start(t, s, "BLPOP a b 0")
	_, second := start(t, s, "BLPOP b 0")
	m.hold = true
	s.Changed("a")
	m.push("b", "x")
	if len(m.held) != 1 {
		t.Errorf("%d attempts are in flight: want 1", len(m.held))
	}
	m.release()
	expect(t, first, "*2\r\n$1\r\nb\r\n$1\r\nx\r\n")
	expect(t, second, waitsOn)
	closeWaits(t, s)
}

// Replies of several BLMOVEs may arrive in any order. A wait that leaves still takes the last one.
func TestAWaitThatLeavesTakesTheReplyOfAnother(t *testing.T) {
	m := newMemory()
	s := New(Config{Sender: m, Watcher: m})
	start(t, s, "BLMOVE a b LEFT LEFT 0")
	_, first := start(t, s, "BLMOVE a b LEFT LEFT 0")
	w, second := start(t, s, "BLMOVE a b LEFT LEFT 0")
	m.answer = func(*Attempt) *Outcome {
		m.hold = true // after the first element, two attempts at a time are allowed
		return nil
	}
	m.push("a", "w")
	if len(m.held) != 2 {
		t.Fatalf("%d attempts are in flight", len(m.held))
	}
	w.Cancel(context.Canceled)
	m.held[1].Done(Outcome{Reply: []byte("$1\r\nx\r\n")})
	expect(t, first, "$1\r\nx\r\n")
	expect(t, second, waitsOn)
	m.held[0].Done(Outcome{Reply: []byte("$1\r\ny\r\n")})
	expect(t, second, "$1\r\ny\r\n")
	closeWaits(t, s)
}

// An attempt for a change of one stream does not read others, where another consumer may be first in line.
func TestAConsumerReadsOnlyStreamsThatChanged(t *testing.T) {
	m := newMemory()
	m.answer = func(*Attempt) *Outcome { return &Outcome{Reply: []byte(null)} }
	s := New(Config{Sender: m, Watcher: m})
	_, done := start(t, s, "XREADGROUP GROUP g c COUNT 2 BLOCK 0 STREAMS a b c > > >")
	m.log = true
	m.push("b")
	s.Changed("a", "c")
	want := []string{"XREADGROUP GROUP g c COUNT 2 STREAMS b >", "XREADGROUP GROUP g c COUNT 2 STREAMS a c > >"}
	if !slices.Equal(m.sent, want) {
		t.Errorf("sent %q: want %q", m.sent, want)
	}
	expect(t, done, waitsOn)
	closeWaits(t, s)
}

// A command that moves to a dedicated connection keeps the ID that $ stood for.
func TestTheRestOfXREADHasTheResolvedID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		m.answer = func(a *Attempt) *Outcome {
			if string(a.Args[0]) == "XREVRANGE" {
				return &Outcome{Reply: []byte("*1\r\n*2\r\n$3\r\n7-1\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n")}
			}
			return &Outcome{Reply: []byte("*-1\r\n")}
		}
		s := New(Config{Sender: m, Watcher: m})
		const command = "XREAD COUNT 2 BLOCK 0 STREAMS a b $ 3-0"
		_, done := start(t, s, command)
		synctest.Wait()
		s.Refuse("b")
		r := <-done
		if !errors.Is(r.Err, ErrDedicated) {
			t.Fatalf("the wait ended with %v", r.Err)
		}
		got := string(bytes.Join(Rest(words(command), r.Err), []byte(" ")))
		if want := "XREAD COUNT 2 BLOCK 0 STREAMS a b 7-1 3-0"; got != want {
			t.Errorf("it continues with %q: want %q", got, want)
		}
		if args := words("BLPOP a 0"); &Rest(args, ErrDedicated)[0] != &args[0] {
			t.Error("Rest copies arguments without $")
		}
		closeWaits(t, s)
	})
}
