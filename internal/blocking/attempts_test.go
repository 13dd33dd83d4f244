package blocking

import (
	"fmt"
	"testing"
	"testing/synctest"
)

func TestErrorsOfTheServer(t *testing.T) {
	for _, tt := range []struct {
		line, first, later string // the server's error, and the end of the wait
	}{
		{"BLPOP a 0", "-WRONGTYPE x\r\n", waitsOn},
		{"BLPOP a b 0", "-WRONGTYPE x\r\n", waitsOn},
		{"BLPOP a 0", "-LOADING x\r\n", waitsOn},
		{"BLPOP a 0", "-READONLY x\r\n", waitsOn},
		{"BLMOVE a b LEFT LEFT 0", "-OOM x\r\n", "-OOM x\r\n"},
		{"BLMOVE a b LEFT LEFT 0", "-WRONGTYPE x\r\n", waitsOn}, // LLEN fails too: it is the source
		{"XREAD BLOCK 0 STREAMS a 0", "-WRONGTYPE x\r\n", waitsOn},
		{"XREAD BLOCK 0 STREAMS a b 0 0", "-WRONGTYPE x\r\n", waitsOn},
		{"XREADGROUP GROUP g c BLOCK 0 STREAMS a >", "-WRONGTYPE x\r\n", "-WRONGTYPE x\r\n"},
		{"XREADGROUP GROUP g c BLOCK 0 STREAMS a >", "-NOGROUP x\r\n", "-NOGROUP x\r\n"},
		{"BLPOP a 0", "-NOPERM x\r\n", ErrDedicated.Error()},
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
