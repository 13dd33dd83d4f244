package turns

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// member is a client of the model.
type member struct {
	Turn
	inFlight int
	next     int  // bytes of the request that waits; 0: none
	first    bool // it got no reply yet
	resumed  bool
	stale    bool // it may have lost its turn
}

func (m *member) Resume() { m.resumed = true }

// Clients send, receive and leave in any order. The budgets hold exactly what clients hold, a client never has more in
// flight than it may, and nobody waits while the budget is free.
func TestTurnsAreNeitherLostNorDoubled(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var turns Turns
		members := make([]*member, rapid.IntRange(1, 12).Draw(t, "clients"))
		for i := range members {
			members[i] = &member{first: true}
		}
		check := func() {
			t.Helper()
			for i := range turns.budgets {
				sum := 0
				for _, m := range members {
					if sum += m.held[i]; m.granted > 0 && int(m.kind) == i {
						sum += m.granted
					}
				}
				if b := &turns.budgets[i]; b.used != sum {
					t.Fatalf("budget %d: %d bytes are used: the clients hold %d", i, b.used, sum)
				} else if b.used == 0 && b.waiting.Len() > 0 {
					t.Fatalf("budget %d: %d clients wait while it is free", i, b.waiting.Len())
				}
			}
			for i, m := range members {
				if int(m.total.Load()) < m.inFlight-Free && !m.stale {
					t.Fatalf("client %d has %d bytes in flight, and holds %v", i, m.inFlight, m.held)
				}
			}
		}
		send := func(m *member) {
			if turns.Ask(&m.Turn, m.inFlight, m.next, m.first, m) {
				m.inFlight += m.next
				m.next = 0
				turns.End(&m.Turn, m.inFlight)
			}
		}
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			m := members[rapid.IntRange(0, len(members)-1).Draw(t, "client")]
			switch rapid.IntRange(0, 4).Draw(t, "step") {
			case 0, 1:
				if m.next == 0 {
					m.next = rapid.SampledFrom([]int{1, 5000, Free, share, mostSmall, 1 << 20, 2 << 20, 10 << 20}).Draw(t, "bytes")
					m.resumed = false
					send(m)
				} else if m.resumed {
					m.resumed = false
					send(m)
				}
			case 2:
				if m.first && m.inFlight > 0 {
					turns.NoteFirst(&m.Turn, rapid.SampledFrom([]int{3, Large}).Draw(t, "size"))
				}
				m.first = m.first && m.inFlight == 0
				m.inFlight -= rapid.IntRange(0, m.inFlight).Draw(t, "received")
				turns.Trim(&m.Turn, m.inFlight)
			case 3:
				turns.tick()
				for _, m := range members {
					m.stale = true
				}
			case 4:
				m.inFlight, m.next = 0, 0
				turns.Leave(&m.Turn, 0)
			}
			check()
		}
		// All receive their replies: then all that wait get their turn.
		for range 2 * len(members) {
			for _, m := range members {
				m.inFlight = 0
				turns.Trim(&m.Turn, 0)
				if m.resumed {
					m.resumed = false
					send(m)
				}
			}
			check()
		}
		if i := slices.IndexFunc(members, func(m *member) bool { return m.next > 0 }); i >= 0 || turns.Waiting() > 0 {
			t.Fatalf("client %d, and %d in all, still wait", i, turns.Waiting())
		}
	})
}

// Clients get their turn in the order in which they asked, also those that ask for little.
func TestTurnsComeInOrder(t *testing.T) {
	var turns Turns
	var got []int
	members := make([]*orderly, 6)
	for i := range members {
		members[i] = &orderly{resume: func() { got = append(got, i) }}
		if ok := turns.Ask(&members[i].Turn, 0, largeBudget, false, members[i]); ok != (i == 0) {
			t.Fatalf("client %d has its turn: %v", i, ok)
		}
	}
	turns.Leave(&members[2].Turn, 0)
	for i, m := range members {
		if i != 2 {
			turns.Leave(&m.Turn, 0)
		}
	}
	if want := []int{1, 3, 4, 5}; !slices.Equal(got, want) {
		t.Errorf("the turns came in the order %v: want %v", got, want)
	}
}

type orderly struct {
	Turn
	resume func()
}

func (o *orderly) Resume() { o.resume() }

// A client that gets no replies does not keep its turn: its server may be down, and others may have replies.
func TestATurnWithoutRepliesEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var turns Turns
		a, b, c, other := &member{}, &member{}, &member{}, &member{}
		turns.Ask(&a.Turn, 0, largeBudget, false, a)
		turns.End(&a.Turn, largeBudget)
		for _, m := range []*member{b, c} {
			turns.Ask(&m.Turn, 0, largeBudget, false, m)
		}
		time.Sleep(patience + patience/2)
		turns.Replied(&other.Turn) // from another server
		time.Sleep(patience)
		if waiting := turns.Waiting(); waiting != 1 || !b.resumed || c.resumed {
			t.Fatalf("%d clients wait; the second client has its turn: %v, and the third: %v", waiting, b.resumed, c.resumed)
		}
		turns.Leave(&b.Turn, 0)
		if !c.resumed {
			t.Fatal("the third client has no turn after the second one")
		}
		turns.Trim(&a.Turn, 0) // the late replies
		turns.Leave(&c.Turn, 0)
		if turns.budgets[big].used != 0 || turns.holders.Len() != 0 {
			t.Errorf("%d bytes and %d clients are left", turns.budgets[big].used, turns.holders.Len())
		}
		time.Sleep(2 * patience)
		turns.mu.Lock()
		defer turns.mu.Unlock()
		if turns.timing {
			t.Error("the timer runs although nobody waits")
		}
	})
}

// If the server replies to nobody, all clients soon have their turn, and afterwards the budgets are as before.
func TestNobodyWaitsLongForASilentServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var turns Turns
		members := make([]*member, 2000)
		ask := func(m *member) {
			if turns.Ask(&m.Turn, 0, unknown, true, m) {
				m.inFlight = unknown
				turns.End(&m.Turn, m.inFlight)
			}
		}
		for i := range members {
			members[i] = &member{}
			ask(members[i])
		}
		for range 40 {
			time.Sleep(patience)
			for _, m := range members {
				turns.mu.Lock()
				resumed := m.resumed
				m.resumed = false
				turns.mu.Unlock()
				if resumed {
					ask(m)
				}
			}
		}
		if waiting := turns.Waiting(); waiting > 0 {
			t.Fatalf("%d clients still wait after %v", waiting, 40*patience)
		}
		time.Sleep(2 * patience) // nobody waits at the next tick
		for _, m := range members {
			m.inFlight = 0
			turns.Trim(&m.Turn, 0)
		}
		for _, m := range members {
			turns.Ask(&m.Turn, 0, unknown, true, m)
		}
		if used := turns.budgets[first].used; used > firstBudget {
			t.Errorf("after the replies, new clients use %d bytes: want %d at most", used, firstBudget)
		}
		for _, m := range members {
			turns.Leave(&m.Turn, 0)
		}
		time.Sleep(2 * patience)
	})
}

// A small turn does not wait for large ones.
func TestSmallTurnsHaveTheirOwnBudget(t *testing.T) {
	var turns Turns
	var a, b, c, d, e member
	if !turns.Ask(&a.Turn, 0, 100<<20, false, &a) || turns.Ask(&b.Turn, 0, 1<<20, false, &b) {
		t.Fatal("a reply above the budget did not get a turn of its own")
	}
	if !turns.Ask(&c.Turn, 0, share, false, &c) {
		t.Error("a small turn waits for a large one")
	}
	for turns.Ask(&d.Turn, d.inFlight, share, false, &d) {
		d.inFlight += share
	}
	if !turns.Ask(&e.Turn, 0, unknown, true, &e) {
		t.Error("the first request of a client waits for the long pipeline of another one")
	}
	turns.Leave(&a.Turn, 0)
	if turns.Leave(&b.Turn, 0); !turns.Ask(&b.Turn, 0, 1<<20, true, &b) || !turns.Ask(&a.Turn, 0, unknown, true, &a) {
		t.Error("a client waits for the large first request of another one")
	}
}

// A client that has its first reply does not keep other new clients waiting, whatever it asks for then.
func TestTheFirstTurnEndsFirst(t *testing.T) {
	var turns Turns
	var x member
	if !turns.Ask(&x.Turn, 0, unknown, true, &x) || !turns.Ask(&x.Turn, unknown, 1<<20, false, &x) {
		t.Fatal("the only client waits")
	}
	turns.Trim(&x.Turn, 1<<20)
	if x.held[first] != 0 || turns.budgets[first].used != 0 {
		t.Errorf("after the first reply it holds %v", x.held)
	}
}

// While new clients wait, more of them may ask at a time after each small reply, and fewer after a large one. Once none waits,
// it is as few as at first.
func TestSmallRepliesAdmitMoreNewClients(t *testing.T) {
	var turns Turns
	most := func(budget int) int { return budget / (unknown - Free) }
	inFlight := map[*member]bool{}
	var waiting []*member
	ask := func(m *member) {
		if turns.Ask(&m.Turn, 0, unknown, true, m) {
			inFlight[m] = true
			turns.End(&m.Turn, unknown)
		} else {
			waiting = append(waiting, m)
		}
	}
	come := func(n int) {
		for range n {
			ask(&member{})
		}
	}
	reply := func(size int) {
		for m := range inFlight {
			delete(inFlight, m)
			turns.NoteFirst(&m.Turn, size)
			turns.Trim(&m.Turn, 0)
			break
		}
		asking := waiting
		waiting = nil
		for _, m := range asking {
			if m.resumed {
				ask(m)
			} else {
				waiting = append(waiting, m)
			}
		}
	}
	come(500)
	if got, want := len(inFlight), most(firstBudget); got != want {
		t.Fatalf("at first %d clients ask at a time: want %d", got, want)
	}
	for last := len(inFlight); last < most(firstBudget+mostExtra); last = len(inFlight) {
		for range (unknown-Free)/extraStep + 1 {
			reply(3)
		}
		if len(inFlight) <= last {
			t.Fatalf("after small replies %d clients ask at a time: want more than %d", len(inFlight), last)
		}
	}
	for range 50 {
		reply(3)
	}
	if got, want := len(inFlight), most(firstBudget+mostExtra); got != want {
		t.Errorf("after many small replies %d clients ask at a time: want %d", got, want)
	}
	for range 2 * most(firstBudget+mostExtra) {
		reply(Large)
	}
	if got, want := len(inFlight), most(firstBudget); got != want {
		t.Errorf("after large replies %d clients ask at a time: want %d", got, want)
	}
	for len(inFlight) > 0 {
		reply(3)
	}
	come(500)
	if got, want := len(inFlight), most(firstBudget); got != want {
		t.Errorf("after none waited, %d clients ask at a time: want %d", got, want)
	}
}

// All clients know the size of a large reply to the same request, until a reply to it is small.
func TestSizesAreShared(t *testing.T) {
	var s Sizes
	get, other := []byte("GET large"), []byte("GET other")
	m := Mean(3)
	if e := s.Expect(get, m); e.Exact() || e.Bytes() != least {
		t.Fatalf("before the first reply: %d", e.Bytes())
	}
	s.Learn(get, s.Expect(get, m), 1<<20)
	e := s.Expect(get, 0)
	if !e.Exact() || e.Bytes() != 1<<20+len(get) {
		t.Errorf("after a large reply: %d bytes", e.Bytes())
	}
	if e := s.Expect(other, m); e.Exact() || e.Bytes() != least {
		t.Errorf("another request: %d bytes", e.Bytes())
	}
	s.Learn(get, e, 3)
	if e := s.Expect(get, m); e.Exact() || s.known.Load() != 0 {
		t.Errorf("after a small reply: %d bytes, %d known", e.Bytes(), s.known.Load())
	}
}

// The first request of a client needs no turn after a small reply to the same request, whoever got it.
func TestKnownFirstRequests(t *testing.T) {
	for _, request := range []string{"*2\r\n$3\r\nGET\r\n$1\r\na\r\n", "get c\r\n", "", "*", "*1\r\n", "\r\n", "*1\r\n$4\r\nPI"} {
		var s Sizes
		check := func(when string, want int) {
			t.Helper()
			if got := s.Expect([]byte(request), 0).Bytes(); got != want+len(request) {
				t.Errorf("%s, %q counts as %d bytes: want %d", when, request, got, want+len(request))
			}
		}
		check("before any reply", unknown)
		s.LearnFirst([]byte(request), 3)
		check("after a small reply", alone)
		s.LearnFirst([]byte(request+"x"), Large)
		check("after a large reply to another request", alone)
		s.LearnFirst([]byte(request), Large)
		check("after a large reply", unknown)
		s.LearnFirst([]byte(request), Large-1)
		check("after a small reply again", alone)
	}
}

// Several requests count as each of them does.
func TestRequestsTogether(t *testing.T) {
	var s Sizes
	const get, set = "*2\r\n$3\r\nGET\r\n$1\r\na\r\n", "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\nb\r\n"
	both := []byte(get + set)
	want := func(when string, m Mean, bytes int, known bool) {
		t.Helper()
		if e := s.ExpectAll(both, m); e.Bytes() != bytes || e.Exact() != known {
			t.Errorf("%s: %d bytes, %v: want %d, %v", when, e.Bytes(), e.Exact(), bytes, known)
		}
	}
	want("at first", 0, 2*unknown+len(both), false)
	want("after small replies to the client", 3, 2*least, false)
	s.LearnSmall(both)
	want("after small replies to others", 0, 2*alone+len(both), false)
	s.Learn([]byte(get), 0, 1<<20)
	want("after a large reply", 3, 1<<20+len(get)+least, false)
	s.Learn([]byte(set), 0, 1<<20)
	want("after large replies", 3, 2<<20+len(both), true)
	if e := s.ExpectAll([]byte("*1\r\n$4\r\nPI"), 3); e.Bytes() != least {
		t.Errorf("an incomplete request counts as %d bytes", e.Bytes())
	}
}

// Only the replies to a pipeline widen the window. A very large reply narrows it, unless it was expected.
func TestTheWindowWidensWithPipelines(t *testing.T) {
	var w Window
	allows := func(when string, pending int, more, want bool) {
		t.Helper()
		if got := w.Allows(pending, more); got != want {
			t.Errorf("%s, with %d pending, more=%v: allowed is %v", when, pending, more, got)
		}
	}
	allows("at first", 0, false, false)
	for range 1000 {
		w.Note(1, 1, false, 3, unknown)
	}
	allows("after single replies", 0, false, true)
	allows("after single replies", 0, true, false)
	allows("after single replies", 1, false, false)
	rounds, last := 0, 0
	for w.Note(1, 1, true, 3, least); w < wide; rounds++ {
		pending := int(w)
		allows("in a pipeline", pending-1, true, true)
		allows("in a pipeline", pending, true, false)
		for last = pending; !w.Resumes(pending); pending-- {
			w.Note(1, pending, true, 3, least)
		}
		if int(w) <= last {
			t.Fatalf("the window of %d did not widen in a round", w)
		}
		last = int(w)
		for w.Note(1, pending, true, 3, least); pending > 0; pending-- {
			if w.Note(1, pending, false, 3, least); int(w) > last+1 {
				t.Fatalf("the window of %d widens although the client waits for nothing", w)
			}
		}
	}
	if rounds > 30 {
		t.Errorf("the window was wide after %d rounds", rounds)
	}
	allows("after a long pipeline", 1<<20, true, true)
	w.Note(1, 1, false, apart, apart/2)
	allows("after an expected reply", 1000, true, true)
	w.Note(1, 1, false, apart-1, least)
	allows("after a large reply", 1000, true, true)
	w.Note(1, 1000, true, apart, least)
	allows("after a very large reply", 0, false, true)
	allows("after a very large reply", 0, true, false)
	w = 0
	w.Note(20, 20, false, 20, unknown)
	allows("after a transaction of 20 commands", 19, false, true)
	allows("after a transaction of 20 commands", 20, false, false)
}

// The mean follows the recent replies.
func TestTheMeanFollows(t *testing.T) {
	var m Mean
	if m.Known() {
		t.Error("a mean of nothing is known")
	}
	for range 100 {
		m.Add(1 << 20)
	}
	if m != 1<<20 {
		t.Errorf("the mean of equal replies of 1 MiB is %d", m)
	}
	for range 200 {
		m.Add(0)
	}
	if !m.Known() || m > meanOf {
		t.Errorf("after 200 empty replies the mean is %d", m)
	}
	m = 3
	if m.Add(1 << 20); m < 1<<19 {
		t.Errorf("after a reply of 1 MiB the mean is %d", m)
	}
	m = 3
	if m.Add(apart - 1); m > apart/meanOf+3 {
		t.Errorf("after a reply below 256 KiB the mean is %d", m)
	}
}
