package pool_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/pool"
)

// loop is a driver whose lanes its own loop never reads.
type loop int

func (n loop) Number() int          { return int(n) }
func (n loop) Take(*lane.Lane, int) {}
func (n loop) Drop(*lane.Lane)      {}

// deafSink ignores replies.
type deafSink struct{}

func (deafSink) Reply(uint64, []byte, bool, *lane.Batch) {}
func (deafSink) Part(uint64, []byte) bool                { return false }
func (deafSink) Fail(uint64, error)                      {}

// loops are two event loops that use one pool.
type loops struct {
	t *testing.T
	p *pool.Pool
}

// pick picks as a loop does: it makes the lane its own if no loop has it.
func (l loops) pick(number int) *lane.Lane {
	l.t.Helper()
	picked := l.p.Zero().PickFor(pool.Loop{Number: number, Of: 2})
	if picked == nil {
		l.t.Fatalf("loop %d has no lane", number)
	}
	picked.Drive(loop(number))
	synctest.Wait()
	return picked
}

// fill makes a lane busy: no byte of the requests is written.
func (l loops) fill(x *lane.Lane) {
	l.t.Helper()
	for range 1024 {
		if err := x.Post([]byte("*1\r\n$4\r\nWAIT\r\n"), 1, deafSink{}, 0, lane.Options{}); err != nil {
			l.t.Fatal(err)
		}
	}
}

func onLoops(t *testing.T, most, lanes int, test func(t *testing.T, l loops, first *lane.Lane)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		cfg := (&memory{}).config()
		cfg.Max, cfg.Lanes, cfg.MinIdle = most, lanes, 0
		cfg.Lane.Window, cfg.Lane.WindowBytes = 4096, 1<<20
		p := pool.New(cfg)
		defer p.Close(context.Background())
		first, err := p.Shared(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		first.Unreserve()
		test(t, loops{t, p}, first)
	})
}

func TestEachLoopHasLanesOfItsOwn(t *testing.T) {
	onLoops(t, 8, 4, func(t *testing.T, l loops, first *lane.Lane) {
		if l.pick(1) != first || l.pick(2) != first {
			t.Fatal("a loop did not use the only lane")
		}
		second := l.pick(2)
		for range 10 {
			if second == first || l.pick(1) != first || l.pick(2) != second {
				t.Fatal("two loops use one lane, or a loop changes its lane")
			}
		}
		if n := l.p.Stats().Lanes; n != 2 {
			t.Errorf("%d lanes for two loops that are not busy", n)
		}
		l.fill(first)
		l.pick(1) // requests another one
		third := l.pick(1)
		if third == first || third == second {
			t.Fatal("a busy loop has no second lane")
		}
		l.fill(third)
		for range 3 {
			if got := l.pick(1); got != first && got != third {
				t.Fatal("a busy loop has more than its share")
			}
		}
	})
}

func TestALoopWithoutALaneUsesThoseOfOthers(t *testing.T) {
	onLoops(t, 1, 1, func(t *testing.T, l loops, only *lane.Lane) {
		for range 3 {
			if l.pick(1) != only || l.pick(2) != only {
				t.Fatal("the loops do not share the only lane")
			}
		}
		if n := l.p.Stats().Lanes; n != 1 {
			t.Errorf("%d lanes: want 1", n)
		}
	})
	onLoops(t, 2, 2, func(t *testing.T, l loops, first *lane.Lane) {
		l.pick(1)
		l.pick(2)
		second := l.pick(2)
		first.Fail(context.Canceled)
		time.Sleep(time.Minute) // its place is free again
		if l.pick(1) != second {
			t.Error("a loop whose lane has failed does not use that of another loop")
		}
		if third := l.pick(1); third == second || l.pick(2) != second || l.pick(1) != third {
			t.Error("the failed lane was not replaced")
		}
	})
}
