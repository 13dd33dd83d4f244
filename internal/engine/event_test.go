package engine

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// deep calls fn below n frames.
func deep(n int, fn func()) {
	if n > 0 {
		deep(n-1, fn)
		return
	}
	fn()
}

func TestACallbackIsFoundBelowAnyNumberOfFrames(t *testing.T) {
	var inside []bool
	e := &Engine{}
	e.cfg.OnEvent = func(Event) {
		for _, n := range []int{0, 100, 1000} {
			deep(n, func() { inside = append(inside, e.InCallback()) })
		}
		other := make(chan bool)
		go func() { other <- e.InCallback() }()
		inside = append(inside, !<-other)
	}
	if e.InCallback() {
		t.Error("before any callback")
	}
	e.emit(Event{})
	for i, ok := range inside {
		if !ok {
			t.Errorf("check %d of %d: the goroutine of the callback is not told from others", i, len(inside))
		}
	}
	if len(inside) != 4 || e.InCallback() {
		t.Errorf("%d checks in the callback; after it InCallback is %v", len(inside), e.InCallback())
	}
}

// Detached work ends at the deadline of its caller, and not when the caller cancels.
func TestDetachedWorkKeepsTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type key struct{}
		caller, cancel := context.WithTimeout(context.WithValue(t.Context(), key{}, "v"), time.Minute)
		ctx, end := Detached(caller)
		defer end()
		cancel()
		if at, ok := ctx.Deadline(); ctx.Err() != nil || !ok || time.Until(at) != time.Minute || ctx.Value(key{}) != "v" {
			t.Errorf("after its caller canceled: %v, deadline %v", ctx.Err(), at)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if ctx.Err() != context.DeadlineExceeded {
			t.Errorf("after the deadline: %v", ctx.Err())
		}

		free, end := Detached(context.Background())
		if _, ok := free.Deadline(); ok || free.Err() != nil {
			t.Error("work without a deadline has one")
		}
		if end(); free.Err() == nil {
			t.Error("the end of the work does not end its ctx")
		}
		ended, end := Detached(caller)
		defer end()
		if ended.Err() == nil {
			t.Error("work of a caller whose ctx has ended begins")
		}
	})
}
