// Package testkit waits for events in tests: until a condition holds, or until a value is as
// wanted. It also makes certificates for tests. Its subdirectories hold the servers, the relay and
// the file formats that tests use. It starts no goroutines.
package testkit

import (
	"fmt"
	"runtime"
	"testing"
	"time"
)

// Patience limits the wait for an event that follows at once, even on a slow machine. Only a
// failing test waits that long.
const Patience = 20 * time.Second

// pollInterval is the time between two looks.
const pollInterval = time.Millisecond

// Eventually waits until holds returns true. After Patience it ends the test with an error that
// contains what. It calls holds on the goroutine of the test.
func Eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	Within(t, Patience, what, holds)
}

// Within is Eventually with a limit other than Patience.
func Within(t testing.TB, limit time.Duration, what string, holds func() bool) {
	t.Helper()
	if !poll(limit, holds) {
		t.Fatalf("not within %v: %s", limit, what)
	}
}

// promptLooks is the number of looks of Promptly without a pause between them.
const promptLooks = 100

// Promptly is Eventually for conditions that mostly hold within microseconds, when a test waits for thousands of them:
// the first looks only yield the processor.
func Promptly(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for range promptLooks {
		if holds() {
			return
		}
		runtime.Gosched()
	}
	Eventually(t, what, holds)
}

// Await calls get until ok accepts the value, and returns that value. After Patience it ends the
// test with an error that contains what and the last value.
func Await[T any](t testing.TB, what string, get func() T, ok func(T) bool) T {
	t.Helper()
	return AwaitWithin(t, Patience, what, get, ok)
}

// AwaitWithin is Await with a limit other than Patience.
func AwaitWithin[T any](t testing.TB, limit time.Duration, what string, get func() T, ok func(T) bool) (last T) {
	t.Helper()
	if !poll(limit, func() bool { last = get(); return ok(last) }) {
		t.Fatalf("not within %v: %s: last seen: %s", limit, what, show(last))
	}
	return last
}

// Is returns a condition for Await: the value equals want.
func Is[T comparable](want T) func(T) bool { return func(got T) bool { return got == want } }

// AtLeast returns a condition for Await: the value is at least least.
func AtLeast[T ~int | ~int64 | ~uint64](least T) func(T) bool {
	return func(got T) bool { return got >= least }
}

// poll returns false if the condition still fails at the end of the limit.
func poll(limit time.Duration, holds func() bool) bool {
	for end := time.Now().Add(limit); !holds(); time.Sleep(pollInterval) {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

func show(v any) string {
	if s, ok := v.(string); ok {
		return fmt.Sprintf("%q", s)
	}
	return fmt.Sprintf("%+v", v)
}
