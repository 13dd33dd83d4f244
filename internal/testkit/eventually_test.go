package testkit

import (
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

// failing records the failure of a test instead of reporting it.
type failing struct {
	testing.TB
	text string
}

func (f *failing) Helper() {}

func (f *failing) Fatalf(format string, args ...any) {
	f.text = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// failure returns how run fails, and after how long.
func failure(run func(t testing.TB)) (text string, after time.Duration) {
	f, began, done := &failing{}, time.Now(), make(chan struct{})
	go func() {
		defer close(done)
		run(f)
	}()
	<-done
	return f.text, time.Since(began)
}

func TestAWaitEndsAtItsLimit(t *testing.T) {
	never := func() bool { return false }
	for name, x := range map[string]struct {
		run   func(t testing.TB)
		want  string
		limit time.Duration
	}{
		"Eventually":  {func(t testing.TB) { Eventually(t, "the server ends", never) }, "not within 20s: the server ends", Patience},
		"Promptly":    {func(t testing.TB) { Promptly(t, "the server ends", never) }, "not within 20s: the server ends", Patience},
		"Within":      {func(t testing.TB) { Within(t, time.Minute, "the server ends", never) }, "not within 1m0s: the server ends", time.Minute},
		"Await":       {func(t testing.TB) { Await(t, "two", func() int { return 1 }, Is(2)) }, "not within 20s: two: last seen: 1", Patience},
		"AwaitWithin": {func(t testing.TB) { AwaitWithin(t, time.Minute, "b", func() string { return "a\n" }, Is("b")) }, `not within 1m0s: b: last seen: "a\n"`, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				text, after := failure(x.run)
				if text != x.want || after < x.limit || after > x.limit+2*pollInterval {
					t.Errorf("%q after %v: want %q after %v", text, after, x.want, x.limit)
				}
			})
		})
	}
}

func TestAWaitEndsWithTheEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began, looks := time.Now(), 0
		Eventually(t, "the fourth look", func() bool { looks++; return looks == 4 })
		got := Await(t, "seven looks", func() int { looks++; return looks }, AtLeast(7))
		if took := time.Since(began); got != 7 || took != 5*pollInterval {
			t.Errorf("%d looks in %v: want 7 in %v", got, took, 5*pollInterval)
		}
	})
}
