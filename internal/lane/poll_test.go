package lane

import (
	"errors"
	"runtime"
	"testing"
	"time"
)

// meter is a source that is ready after some looks, and counts what is done to it.
type meter struct {
	after  int // looks until there is something; <0: never, one has to sleep
	err    error
	looks  int
	sleeps int
	since  int           // looks in this wait
	takes  time.Duration // sleeping
	gate   chan struct{} // sleepers wait for it; nil: they do not
	asleep chan struct{}
}

func (m *meter) CanTry() bool { return true }

func (m *meter) TryRead(b []byte) (int, error) {
	m.looks++
	if m.since++; m.after >= 0 && m.since > m.after {
		m.since = 0
		if m.err != nil {
			return 0, m.err
		}
		return 1, nil
	}
	return 0, nil
}

func (m *meter) Read(b []byte) (int, error) {
	m.sleeps++
	m.since = 0
	time.Sleep(m.takes)
	if m.gate != nil {
		m.asleep <- struct{}{}
		<-m.gate
	}
	return 1, nil
}

func newPoller(t *testing.T, m *meter) *poller {
	t.Helper()
	if runtime.GOMAXPROCS(0) < 2 {
		runtime.GOMAXPROCS(2)
		t.Cleanup(func() { runtime.GOMAXPROCS(1) })
	}
	p := &poller{}
	p.init(m)
	return p
}

func read(t *testing.T, p *poller, m *meter, soon bool) {
	t.Helper()
	if n, err := p.read(m, make([]byte, 1), soon); n != 1 || err != nil {
		t.Fatalf("read gave %d, %v", n, err)
	}
}

func TestAReplyThatComesSoonIsPolledFor(t *testing.T) {
	m := &meter{after: 10}
	p := newPoller(t, m)
	for range 100 {
		read(t, p, m, true)
	}
	if m.sleeps != 0 || m.looks != 100*11 {
		t.Errorf("%d sleeps and %d looks: want 0 and 1100", m.sleeps, m.looks)
	}
}

func TestNothingIsPolledForThatIsNotExpectedSoon(t *testing.T) {
	m := &meter{after: 0}
	p := newPoller(t, m)
	read(t, p, m, false)
	if m.looks != 0 || m.sleeps != 1 {
		t.Errorf("%d looks, %d sleeps: want 0 and 1", m.looks, m.sleeps)
	}
}

// A server far away costs next to nothing, and one that comes near is seen.
func TestPollingRestsWhereRepliesTakeTheirTime(t *testing.T) {
	m := &meter{after: -1}
	p := newPoller(t, m)
	const waits = 200_000
	for range waits {
		read(t, p, m, true)
	}
	if m.sleeps != waits {
		t.Errorf("%d sleeps: want %d", m.sleeps, waits)
	}
	if polled := m.looks / looks; polled < 10 || polled > waits/100 {
		t.Errorf("%d of %d waits began with polling: want a few, and fewer than one in a hundred", polled, waits)
	}
	m.after = 3
	m.sleeps = 0
	for range waits {
		read(t, p, m, true)
	}
	if m.sleeps > firstRest<<mostRests {
		t.Errorf("%d sleeps after the server came near: want %d at most", m.sleeps, firstRest<<mostRests)
	}
}

func TestAServerFarAwayIsFoundOutSoon(t *testing.T) {
	m := &meter{after: -1, takes: 2 * far}
	p := newPoller(t, m)
	for range 50 {
		read(t, p, m, true)
	}
	if polled := m.looks / looks; polled == 0 || polled > 10 {
		t.Errorf("%d of 50 waits began with polling: want 1 to 10", polled)
	}
}

// While one lane sleeps for a reply, no other polls: they would share the
// processors with those who answer.
func TestOneLanePollsAndOnlyAlone(t *testing.T) {
	first := &meter{after: -1, gate: make(chan struct{}), asleep: make(chan struct{})}
	done := make(chan struct{})
	p1 := newPoller(t, first)
	go func() {
		defer close(done)
		_, _ = p1.read(first, make([]byte, 1), true)
	}()
	<-first.asleep
	second := &meter{after: 0}
	p2 := newPoller(t, second)
	read(t, p2, second, true)
	if second.looks != 0 || second.sleeps != 1 {
		t.Errorf("%d looks, %d sleeps beside a sleeper: want 0 and 1", second.looks, second.sleeps)
	}
	close(first.gate)
	<-done
	read(t, p2, second, true)
	if second.looks != 1 {
		t.Errorf("%d looks when alone again: want 1", second.looks)
	}
}

func TestAFailedLookEndsThePoll(t *testing.T) {
	broken := errors.New("broken")
	m := &meter{after: 2, err: broken}
	p := newPoller(t, m)
	if _, err := p.read(m, make([]byte, 1), true); err != broken {
		t.Errorf("got %v", err)
	}
	next := &meter{after: 0}
	read(t, newPoller(t, next), next, true)
	if next.looks != 1 {
		t.Error("nobody polls after a failure")
	}
}
