// Package tooltest helps the tests of the tool's packages: files, plain Redis
// clients, held connections, a webhook. No program may import it. Its goroutines end with the test that started them.
package tooltest

import (
	"bytes"
	"regexp"
	"sync"
	"testing"
	"time"
)

// Patience is how long a test waits for an event.
const Patience = 30 * time.Second

// Log is a growing text that a test can wait for.
type Log struct {
	mu   sync.Mutex
	b    bytes.Buffer
	more chan struct{} // closed and replaced by each write
}

// NewLog returns an empty log.
func NewLog() *Log { return &Log{more: make(chan struct{})} }

func (w *Log) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	close(w.more)
	w.more = make(chan struct{})
	return w.b.Write(p)
}

func (w *Log) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.String()
}

// Until waits until a pattern matches n times, and returns the last group of the n-th match.
func (w *Log) Until(t *testing.T, pattern string, n int) string {
	t.Helper()
	re := regexp.MustCompile(pattern)
	limit := time.NewTimer(Patience)
	defer limit.Stop()
	for {
		w.mu.Lock()
		found, more := re.FindAllStringSubmatch(w.b.String(), -1), w.more
		w.mu.Unlock()
		if len(found) >= n {
			return found[n-1][len(found[n-1])-1]
		}
		select {
		case <-more:
		case <-limit.C:
			t.Fatalf("%q was told %d times: want %d:\n%s", pattern, len(found), n, w)
		}
	}
}
