package clusterload

import (
	"strconv"
	"sync"
)

// series checks numbers that should count up by one: the replies to INCR, the elements of a queue, or the
// messages of a channel. After a fault it continues with the number that it saw, so that each fault counts
// once.
type series struct {
	last   int64 // the last number that was seen
	unsure int64 // calls since then that failed, and may have taken a number
}

// faults are the writes that a client lost, executed twice, or executed in another order.
type faults struct{ Lost, Doubled, Disordered int64 }

func (f *faults) add(other faults) {
	f.Lost += other.Lost
	f.Doubled += other.Doubled
	f.Disordered += other.Disordered
}

// counted takes the reply to INCR.
func (s *series) counted(n int64) (f faults) {
	switch {
	case n <= s.last:
		f.Lost = s.last + 1 - n
	case n > s.last+1+s.unsure:
		f.Doubled = n - s.last - 1 - s.unsure
	}
	s.last, s.unsure = n, 0
	return f
}

// ends checks the number that a counter has at the end.
func (s *series) ends(n int64) (f faults) {
	switch {
	case n < s.last:
		f.Lost = s.last - n
	case n > s.last+s.unsure:
		f.Doubled = n - s.last - s.unsure
	}
	return f
}

// delivered takes an element or a message. It tells one that arrives twice from one that arrives late only
// roughly: late is one that was missed before.
func (s *series) delivered(n int64) (f faults) {
	switch {
	case n == s.last:
		f.Doubled = 1
		return f
	case n < s.last:
		f.Disordered = 1
		return f
	case n > s.last+1+s.unsure:
		f.Lost = n - s.last - 1 - s.unsure
	}
	s.last, s.unsure = n, 0
	return f
}

// register is a key that one caller sets to rising numbers, and others read.
type register struct {
	mu           sync.Mutex
	begun, acked int64
}

func (r *register) begin() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.begun++
	return r.begun
}

func (r *register) done(n int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.acked = n
}

func (r *register) state() (begun, acked int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.begun, r.acked
}

// read checks a value that was read after acked was acknowledged, and before a write after begun began.
func (r *register) read(text string, acked int64) (f faults) {
	n, _ := strconv.ParseInt(text, 10, 64)
	begun, _ := r.state()
	switch {
	case n < acked:
		f.Lost = 1
	case n > begun:
		f.Disordered = 1
	}
	return f
}
