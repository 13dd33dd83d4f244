package pool_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/pool"
	"github.com/seed-2b0d76a6/respool/resp"
)

// step is one thing that happens to a pool of several keys; n chooses of whom
// or of what.
type step struct {
	what string
	n    int
}

// asked is one caller's wait, and what it brought.
type asked struct {
	key    int
	conn   bool // for a conn of its own rather than for a place on a lane
	cancel context.CancelFunc
	done   chan struct{} // closed when err, leased and lane are there
	got    bool          // the stage has seen that
	err    error
	leased *pool.Conn
	lane   *lane.Lane
}

// stage has a pool go through steps, one at a time, and looks at it after each.
type stage struct {
	w      *town
	p      *pool.Pool
	most   int // the highest bound so far
	asked  []*asked
	failed []string
}

func (s *stage) errorf(format string, args ...any) {
	s.failed = append(s.failed, fmt.Sprintf(format, args...))
}

func (s *stage) ask(key int, conn bool) {
	ctx, cancel := context.WithCancel(context.Background())
	a := &asked{key: key, conn: conn, cancel: cancel, done: make(chan struct{})}
	s.asked = append(s.asked, a)
	g := s.p.Subpool(keys[key])
	go func() {
		if conn {
			a.leased, a.err = g.Acquire(ctx)
		} else {
			a.lane, a.err = g.Shared(ctx)
		}
		close(a.done)
	}()
}

// rest waits until nothing more happens by itself.
func (s *stage) rest(after string) {
	synctest.Wait()
	for _, a := range s.asked {
		select {
		case <-a.done:
			a.got = true
		default:
		}
	}
	s.check(after)
}

// pick chooses one of those asked for which ok is true, or nil.
func (s *stage) pick(n int, ok func(*asked) bool) *asked {
	var among []*asked
	for _, a := range s.asked {
		if ok(a) {
			among = append(among, a)
		}
	}
	if len(among) == 0 {
		return nil
	}
	return among[n%len(among)]
}

func waits(a *asked) bool { return !a.got }
func holds(a *asked) bool { return a.got && (a.leased != nil || a.lane != nil) }

// end ends a hold, as its holder finds the conn.
func (s *stage) end(a *asked, rekey, destroy bool) {
	ctx := context.Background()
	l, opt := a.lane, lane.Options{Reserved: true}
	if a.leased != nil {
		l, opt = a.leased.Lane(), lane.Options{}
		if k := a.leased.Identity(); k != keys[a.key] {
			s.errorf("a conn of %v says %v", keys[a.key], k)
		}
	}
	if err := works(ctx, l, opt, keys[a.key]); errors.Is(err, errStranger) {
		s.errorf("%v", err)
	}
	switch c := a.leased; {
	case c == nil:
	case destroy:
		c.Destroy("by chance")
	case rekey:
		to := keys[(a.key+1)%(len(keys)-1)]
		if become(ctx, l, pool.Identity{}, to) == nil {
			c.SetIdentity(to)
		}
		c.Release()
	default:
		c.Release()
	}
	a.leased, a.lane = nil, nil
}

func (s *stage) take(st step) {
	switch st.what {
	case "acquire":
		s.ask(st.n%len(keys), true)
	case "share":
		s.ask(st.n%len(keys), false)
	case "end", "destroy", "rekey":
		if a := s.pick(st.n, holds); a != nil {
			s.end(a, st.what == "rekey", st.what == "destroy")
		}
	case "cancel":
		if a := s.pick(st.n, waits); a != nil {
			a.cancel()
		}
	case "resize":
		n := 1 + st.n%5
		s.most = max(s.most, n)
		s.p.Resize(n)
	case "suspend":
		s.p.Suspend(time.Duration(st.n) * time.Millisecond)
	case "resume":
		s.p.Resume()
	case "redial":
		s.p.Redial("redialed")
	case "kill":
		s.w.kill()
	case "time":
		time.Sleep(time.Duration(st.n) * 20 * time.Millisecond)
	case "down":
		s.w.set(func(w *town) { w.down = st.n%2 == 0 })
	case "shut":
		s.w.shut(st.n%2 == 0)
	case "broken":
		s.w.set(func(w *town) { w.broken = st.n%2 == 0 })
	}
}

// check is what holds after each step.
func (s *stage) check(after string) {
	if s.w.peak > s.most {
		s.errorf("after %s: %d sockets: want %d at most", after, s.w.peak, s.most)
	}
	// In each queue, nobody is served before those who came earlier.
	type queue struct {
		key  int
		conn bool
	}
	first := map[queue]*asked{}
	waiting := 0
	for _, a := range s.asked {
		q := queue{a.key, a.conn}
		switch {
		case waits(a):
			waiting++
			if first[q] == nil {
				first[q] = a
			}
		case a.err == nil && first[q] != nil:
			s.errorf("after %s: of the queue %v one was served out of turn", after, q)
		}
		var se *resp.ServerError
		if errors.As(a.err, &se) != (a.err != nil && keys[a.key].User == "mallory") && !known(a.err) {
			s.errorf("after %s: a wait for %v ended with %v", after, keys[a.key], a.err)
		}
	}
	if n := s.p.Stats().Waiting; n != waiting {
		s.errorf("after %s: the pool counts %d waiters: want %d", after, n, waiting)
	}
}

// known are the failures that the steps bring about.
func known(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, pool.ErrSuspended) || errors.Is(err, errRefused) ||
		errors.Is(err, os.ErrDeadlineExceeded) // of a dial, at the shut gate
}

// finish shows that everyone is served once what was taken comes back.
func (s *stage) finish() {
	s.w.set(func(w *town) { w.down = false })
	s.w.shut(false)
	s.p.Resume()
	for range 20 * len(s.asked) {
		for _, a := range s.asked {
			if holds(a) {
				s.end(a, false, false)
			}
		}
		time.Sleep(100 * time.Millisecond)
		s.rest("the end")
	}
	if a := s.pick(0, waits); a != nil {
		s.errorf("%v still waits, for a conn of its own: %v; %+v", keys[a.key], a.conn, s.p.Stats())
	}
}

// Whatever happens in whatever order: the bound holds, every conn works as who
// it was asked for, nobody barges or starves, and nothing is lost.
func TestStepByStepEverybodyIsServedInTurn(t *testing.T) {
	acts := []string{
		"acquire", "acquire", "acquire", "share", "share", "share", "end", "end", "end", "end", "rekey", "destroy",
		"cancel", "resize", "suspend", "resume", "resume", "redial", "kill", "time", "time", "down", "broken", "shut", "shut",
	}
	rapid.Check(t, func(r *rapid.T) {
		limit := rapid.IntRange(1, 4).Draw(r, "limit")
		lanes := rapid.IntRange(1, 2).Draw(r, "lanes")
		switches := rapid.Bool().Draw(r, "switches identity")
		steps := rapid.SliceOfN(rapid.Custom(func(r *rapid.T) step {
			return step{rapid.SampledFrom(acts).Draw(r, "what"), rapid.IntRange(0, 60).Draw(r, "n")}
		}), 1, 60).Draw(r, "steps")
		var s *stage
		synctest.Test(t, func(t *testing.T) {
			s = &stage{w: newTown(), most: limit}
			cfg := s.w.config(limit)
			if cfg.Lanes, cfg.IdleTimeout = lanes, time.Second; !switches {
				cfg.SwitchIdentity = nil
			}
			s.p = pool.New(cfg)
			for _, st := range steps {
				s.take(st)
				s.rest(st.what)
			}
			s.finish()
			_ = s.p.Close(context.Background())
			for _, a := range s.asked {
				a.cancel()
			}
			synctest.Wait()
			if st := s.p.Stats(); s.w.sockets()+st.Subpools+st.Dialing+st.Lanes+st.Idle+st.Dedicated+st.Closing+st.Waiting != 0 {
				s.errorf("after Close: %d sockets, %+v", s.w.sockets(), st)
			}
		})
		for _, f := range s.failed {
			r.Error(f)
		}
	})
}
