//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
)

// run stands for a test: the packages that start servers work for tests. end stops what they started.
type run struct {
	testing.TB

	mu       sync.Mutex
	cleanups []func()
	failures []error
}

func (*run) Helper()                  {}
func (*run) Name() string             { return "reshard" }
func (*run) Logf(string, ...any)      {}
func (*run) Log(...any)               {}
func (*run) Context() context.Context { return context.Background() }

func (r *run) Failed() bool { return r.failure() != nil }

func (r *run) Cleanup(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cleanups = append(r.cleanups, f)
}

func (r *run) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failures = append(r.failures, fmt.Errorf(format, args...))
}

func (r *run) Error(args ...any) { r.Errorf("%s", fmt.Sprint(args...)) }

func (r *run) Fatalf(format string, args ...any) {
	r.end()
	fmt.Fprintf(os.Stderr, "reshard: "+format+"\n", args...)
	os.Exit(1)
}

func (r *run) Fatal(args ...any) { r.Fatalf("%s", fmt.Sprint(args...)) }

func (r *run) TempDir() string {
	dir, err := os.MkdirTemp("", "reshard")
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func (r *run) failure() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return errors.Join(r.failures...)
}

func (r *run) end() {
	for {
		r.mu.Lock()
		n := len(r.cleanups)
		if n == 0 {
			r.mu.Unlock()
			return
		}
		last := r.cleanups[n-1]
		r.cleanups = r.cleanups[:n-1]
		r.mu.Unlock()
		last()
	}
}
