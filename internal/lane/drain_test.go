package lane_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/seed-2b0d76a6/respool/internal/lane"
)

// drainModel is what Drain and Reserve promise, beside a lane that a script
// answers for. Steps run one after the other: each waits until all is quiet.
type drainModel struct {
	k        *link
	s        *script
	due      []*waiter // sent, in order
	queued   []*waiter // wait for the window, in order
	reserved int       // promises not yet used
	draining bool
	called   bool // the callback of this draining was due
	window   int
	calls    atomic.Int32
}

// waiter is a caller of the model.
type waiter struct {
	ch       <-chan result
	cancel   context.CancelFunc
	reserved bool
	left     bool
}

// settle waits for quiet and compares the lane with the model.
func (m *drainModel) settle(t *rapid.T) {
	synctest.Wait()
	held := m.reserved
	for len(m.queued) > 0 && len(m.due) < m.window {
		m.due, m.queued = append(m.due, m.queued[0]), m.queued[1:]
	}
	for _, w := range m.queued {
		if w.reserved {
			held++
		}
	}
	if m.draining && held == 0 && len(m.due) == 0 {
		m.called = true
	}
	want := int32(0)
	if m.called {
		want = 1
	}
	if got := m.calls.Load(); got != want {
		t.Fatalf("drained was called %d times, want %d, with %d due and %d held", got, want, len(m.due), held)
	}
	if d := m.k.Depth(); d != len(m.due) {
		t.Fatalf("%d replies are due, want %d", d, len(m.due))
	}
}

func (m *drainModel) start(t *rapid.T, reserved, bad bool) {
	ctx, cancel := context.WithCancel(background)
	var arg any = "k"
	if bad {
		arg = nil
	}
	w := &waiter{cancel: cancel, reserved: reserved}
	w.ch = m.k.start(ctx, lane.Options{Reserved: reserved}, "GET", arg)
	synctest.Wait()
	switch {
	case m.draining && !reserved:
		if err := (<-w.ch).err; err != lane.ErrDraining {
			t.Fatalf("got %v while draining", err)
		}
		cancel()
	case bad && len(m.due) < m.window:
		if err := (<-w.ch).err; err == nil {
			t.Fatalf("a bad argument was sent")
		}
		cancel()
	case bad: // waits for its turn first
		cancel()
		<-w.ch
	default:
		m.queued = append(m.queued, w)
	}
}

func (m *drainModel) actions() map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"": m.settle,
		"do": func(t *rapid.T) {
			m.start(t, false, rapid.Bool().Draw(t, "bad"))
		},
		"reserve": func(t *rapid.T) {
			if m.called {
				t.Skip("a drained lane is not promised")
			}
			if !m.k.Reserve() {
				t.Fatalf("no place on a lane that lives")
			}
			m.reserved++
		},
		"unreserve": func(t *rapid.T) {
			if m.reserved == 0 {
				t.Skip("nothing is reserved")
			}
			m.reserved--
			m.k.Unreserve()
		},
		"do reserved": func(t *rapid.T) {
			if m.reserved == 0 {
				t.Skip("nothing is reserved")
			}
			m.reserved--
			m.start(t, true, rapid.IntRange(0, 3).Draw(t, "bad") == 0)
		},
		"do reserved too late": func(t *rapid.T) {
			if m.reserved == 0 {
				t.Skip("nothing is reserved")
			}
			m.reserved--
			ctx, cancel := context.WithCancel(background)
			cancel()
			if _, err := m.k.Do(ctx, []any{"GET"}, lane.Options{Reserved: true}); !errors.Is(err, context.Canceled) {
				t.Fatalf("got %v", err)
			}
		},
		"answer": func(t *rapid.T) {
			if len(m.due) == 0 {
				t.Skip("nothing is due")
			}
			w := m.due[0]
			m.due = m.due[1:]
			m.s.send <- "+OK\r\n"
			if r := <-w.ch; !w.left && (r.err != nil || string(r.frame) != "+OK\r\n") {
				t.Fatalf("got %q, %v", r.frame, r.err)
			}
			w.cancel()
		},
		"leave": func(t *rapid.T) {
			if len(m.due) == 0 {
				t.Skip("nothing is due")
			}
			w := rapid.SampledFrom(m.due).Draw(t, "who")
			if w.left {
				t.Skip("left already")
			}
			w.cancel()
			if r := <-w.ch; !errors.Is(r.err, context.Canceled) {
				t.Fatalf("got %v", r.err)
			}
			w.left = true
			gone := make(chan result, 1)
			gone <- result{}
			w.ch = gone
		},
		"leave the window": func(t *rapid.T) {
			if len(m.queued) == 0 {
				t.Skip("nobody waits")
			}
			i := rapid.IntRange(0, len(m.queued)-1).Draw(t, "who")
			w := m.queued[i]
			m.queued = append(m.queued[:i:i], m.queued[i+1:]...)
			w.cancel()
			if r := <-w.ch; !errors.Is(r.err, context.Canceled) {
				t.Fatalf("got %v", r.err)
			}
		},
		"drain": func(t *rapid.T) {
			if m.draining {
				t.Skip("draining already")
			}
			m.draining, m.called = true, false
			m.k.Drain(func() { m.calls.Add(1) })
			var kept []*waiter
			for _, w := range m.queued {
				if w.reserved {
					kept = append(kept, w)
					continue
				}
				if r := <-w.ch; r.err != lane.ErrDraining {
					t.Fatalf("got %v", r.err)
				}
				w.cancel()
			}
			m.queued = kept
		},
		"undrain": func(t *rapid.T) {
			m.draining, m.called = false, false
			m.calls.Store(0)
			m.k.Undrain(nil, lane.NoProof)
		},
		"a while": func(*rapid.T) { time.Sleep(time.Second) },
	}
}

// bubble hides testing.T from rapid, which would ask for its deadline: that is
// not allowed inside of a bubble.
type bubble struct{ *testing.T }

func TestDrainTellsOnceWhenNothingIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rapid.Check(bubble{t}, func(t *rapid.T) {
			m := &drainModel{s: newScript(), window: rapid.SampledFrom([]int{1, 3, 1000}).Draw(t, "window")}
			cfg := config()
			cfg.Window = m.window
			m.k = connect(t, overPipe, cfg, m.s.serve)
			defer func() {
				m.k.close()
				for _, w := range append(m.due, m.queued...) {
					<-w.ch
					w.cancel()
				}
				synctest.Wait()
			}()
			t.Repeat(m.actions())
		})
	})
}

// The same under a real load, where the last reply comes at any moment.
func TestADrainUnderLoadIsToldOnce(t *testing.T) {
	onEach(t, func(t *testing.T, over transport) {
		k := connect(t, over, config(), echo)
		defer k.close()
		var wg sync.WaitGroup
		var stop atomic.Bool
		for range 4 {
			wg.Go(func() {
				for !stop.Load() {
					if _, err := k.do("ECHO", "x"); err != nil && err != lane.ErrDraining {
						t.Error(err)
						return
					}
				}
			})
		}
		for range 100 {
			reserved := k.Reserve()
			drained := make(chan struct{})
			k.Drain(func() {
				if k.Depth() != 0 {
					t.Error("replies are due on a drained lane")
				}
				close(drained) // twice would panic
			})
			if reserved {
				if _, err := k.Do(background, []any{"ECHO", "x"}, lane.Options{Reserved: true}); err != nil {
					t.Error(err)
				}
			}
			await(t, "the drain", drained)
			k.Undrain(nil, lane.NoProof)
		}
		stop.Store(true)
		wg.Wait()
	})
}

func TestADeadLaneNeverDrains(t *testing.T) {
	k := connect(t, overTCP, config(), (*peer).drop)
	ch := k.start(background, lane.Options{}, "GET")
	k.waitDepth(1)
	k.Drain(func() { t.Error("drained was called") })
	k.close()
	<-ch
	k.Drain(func() { t.Error("drained was called") })
	if k.Reserve() {
		t.Error("a dead lane promised a place")
	}
}
