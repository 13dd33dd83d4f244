package budget

import (
	"testing"
	"time"
)

// fakeLane is a lane with some pending replies, used some seconds after the start.
type fakeLane struct{ depth, used int }

func (l *fakeLane) Depth() int        { return l.depth }
func (l *fakeLane) UsedAt() time.Time { return at(l.used) }

func at(seconds int) time.Time { return time.Unix(int64(seconds), 0) }

// limits returns the limits of some shares.
func limits(shares ...*Share) (list []int) {
	for _, s := range shares {
		list = append(list, s.Terms().Limit)
	}
	return list
}

func want(t *testing.T, what string, shares []*Share, limit ...int) {
	t.Helper()
	for i, got := range limits(shares...) {
		if got != limit[i] {
			t.Errorf("%s: limits %v: want %v", what, limits(shares...), limit)
			return
		}
	}
}

// join returns n shares in use, each with one socket.
func join(b *Budget, n int) (shares []*Share) {
	for range n {
		s := b.Join(func() {})
		s.Update(State{InUse: true}, 0)
		if s.Terms().Limit > 0 {
			s.Update(State{InUse: true, Taken: 1}, 0)
		}
		shares = append(shares, s)
	}
	return shares
}

func TestPlacesGoToTheShareThatWantsOneLongest(t *testing.T) {
	b := New(4)
	s := join(b, 3)
	s[0].Want(true, at(1))
	s[0].Update(State{InUse: true, Taken: 2}, 0)
	want(t, "a free place", s, 2, 1, 1)
	s[2].Want(true, at(3))
	s[1].Want(true, at(2))
	if terms := s[0].Terms(); terms.Needed != 2 || !terms.Since.Equal(at(2)) || terms.Room {
		t.Errorf("two shares want a place: %+v", terms)
	}
	s[0].Give(1)
	want(t, "a place that is not closed yet", s, 1, 1, 1)
	s[0].Update(State{InUse: true, Taken: 1}, 0)
	want(t, "a closed connection", s, 1, 2, 1)
	s[1].Update(State{InUse: true, Taken: 1}, 1)
	want(t, "an unused place", s, 1, 1, 2)
	if _, ok := s[0].Take(); ok {
		t.Error("a share takes a place that is not free")
	}
}

func TestAShareInUseComesBeforeAllThatWaitForMore(t *testing.T) {
	b := New(3)
	s := join(b, 2)
	s[0].Want(true, at(1))
	s[0].Update(State{InUse: true, Taken: 2}, 0)
	s[1].Want(true, at(2))
	s = append(s, join(b, 1)...)
	want(t, "without a free place", s, 2, 1, 0)
	s[0].Update(State{InUse: true, Taken: 1}, 1)
	want(t, "with a free place", s, 1, 1, 1)
}

func TestIdleLanesTakeTurnsIfThereAreTooFewPlaces(t *testing.T) {
	b := New(3)
	s := join(b, 4)
	want(t, "more shares than places", s, 1, 1, 1, 0)
	for i, l := range []*fakeLane{{depth: 1, used: 1}, {depth: 0, used: 3}, {depth: 0, used: 2}} {
		s[i].Update(State{InUse: true, Taken: 1, Lane: l}, 0)
	}
	s[3].Want(true, at(1))
	for i := range s {
		if terms := s[i].Terms(); terms.Evict != (i == 2) || !terms.Exceeded {
			t.Errorf("share %d: %+v: want the idle lane that is unused longest to be evicted", i, terms)
		}
	}
	s[2].Give(1)
	s[2].Update(State{InUse: true}, 0)
	want(t, "after the eviction", s, 1, 1, 0, 1)
	s[0].Update(State{}, 1)
	want(t, "after a share has left", s, 0, 1, 1, 1)
}

// Places for sockets that the budget does not count come before all that wait for more, and leave each share in use its place.
func TestReservedPlaces(t *testing.T) {
	b := New(6)
	s := join(b, 2)
	for n := range 3 {
		s[0].Want(true, at(n))
		s[0].Update(State{InUse: true, Taken: 2 + n}, 0)
	}
	want(t, "before", s, 4, 1)
	woken := false
	s = append(s, b.Join(func() { woken = true }))
	s[2].Update(State{InUse: true, Optional: true}, 0)
	for _, wake := range b.Reserve(4) {
		wake()
	}
	if n := b.Reserved(); n != 1 || !woken {
		t.Errorf("%d places reserved, woken %v: want the free one, and a call of all shares in use", n, woken)
	}
	s[1].Want(true, at(0))
	if terms := s[0].Terms(); terms.Needed != 4 || terms.Room {
		t.Errorf("%+v: want the 3 places of the reserve and one of a share", terms)
	}
	s[0].Give(3)
	s[0].Update(State{InUse: true, Taken: 3}, 0)
	if n := b.Reserved(); n != 2 {
		t.Errorf("%d places reserved: want those of closed connections", n)
	}
	s[0].Update(State{InUse: true, Taken: 1}, 0)
	want(t, "with all places reserved", s, 1, 1, 0)
	if n := b.Reserved(); n != 4 {
		t.Errorf("%d places reserved: want 4", n)
	}
	b.Reserve(3)
	want(t, "with one less", s, 1, 2, 0)
	b.Reserve(0)
	if _, ok := s[0].Take(); !ok {
		t.Error("no place is free after the end of the reserve")
	}
}
