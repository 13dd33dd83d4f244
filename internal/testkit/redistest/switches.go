//go:build unix

package redistest

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// SentinelEvent is a message of a sentinel, and when it arrived.
type SentinelEvent struct {
	At               time.Time
	Sentinel         int
	Channel, Payload string
}

// SwitchWatch records the messages of all sentinels of a set. Its methods are safe for concurrent use.
type SwitchWatch struct {
	stop chan struct{}
	once sync.Once
	done sync.WaitGroup

	mu     sync.Mutex
	events []SentinelEvent
}

// WatchSwitches subscribes to each sentinel and returns when all subscriptions are active. It
// reconnects after a lost connection. It ends with Stop, or with the test.
func (set *SentinelSet) WatchSwitches() *SwitchWatch {
	w := &SwitchWatch{stop: make(chan struct{})}
	ready := make(chan struct{}, len(set.Sentinels))
	for i, s := range set.Sentinels {
		w.done.Go(func() {
			tell := sync.OnceFunc(func() { ready <- struct{}{} })
			for !w.ended() {
				w.listen(i, s, tell)
				time.Sleep(5 * time.Millisecond)
			}
		})
	}
	for range set.Sentinels {
		<-ready
	}
	set.t.Cleanup(w.Stop)
	return w
}

func (w *SwitchWatch) ended() bool {
	select {
	case <-w.stop:
		return true
	default:
		return false
	}
}

func (w *SwitchWatch) listen(i int, s *Server, ready func()) {
	c, err := s.dial()
	if err != nil {
		return
	}
	over := make(chan struct{})
	var closer sync.WaitGroup
	closer.Go(func() {
		select {
		case <-w.stop:
			_ = c.conn.SetReadDeadline(time.Unix(1, 0))
		case <-over:
		}
	})
	defer c.conn.Close()
	defer closer.Wait()
	defer close(over)
	if _, err := c.do("PSUBSCRIBE", "*"); err != nil {
		return
	}
	if c.conn.SetDeadline(time.Time{}) != nil || w.ended() {
		return
	}
	ready()
	for {
		text, err := c.read()
		if err != nil {
			return
		}
		if f := strings.SplitN(text, "\n", 4); len(f) == 4 && f[0] == "pmessage" {
			w.mu.Lock()
			w.events = append(w.events, SentinelEvent{time.Now(), i, f[2], f[3]})
			w.mu.Unlock()
		}
	}
}

// Events returns the messages so far.
func (w *SwitchWatch) Events() []SentinelEvent {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.events)
}

// Wait waits for the first message on a channel after the given time.
func (w *SwitchWatch) Wait(t testing.TB, channel string, after time.Time, within time.Duration) SentinelEvent {
	t.Helper()
	for deadline := time.Now().Add(within); ; time.Sleep(2 * time.Millisecond) {
		for _, e := range w.Events() {
			if e.Channel == channel && e.At.After(after) {
				return e
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("no sentinel published %s within %v", channel, within)
		}
	}
}

// Stop ends the subscriptions.
func (w *SwitchWatch) Stop() {
	w.once.Do(func() { close(w.stop) })
	w.done.Wait()
}
