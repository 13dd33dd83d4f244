package drill

import (
	"errors"
	"sync"
	"time"

	"github.com/seed-2b0d76a6/respool"
)

// callerStats counts the operations of one kind of caller.
type callerStats struct {
	kind string

	mu      sync.Mutex
	ops     int64
	errors  map[string]int64 // by kind of error
	first   map[string]string
	last    time.Time     // the last success of any caller
	outage  time.Duration // the longest time in which none succeeded
	longest time.Duration // the longest operation that succeeded
	pause   time.Duration // the longest time in which one caller had no success
	gaps    int64         // of subscribers
}

func newCallerStats(kind string) *callerStats {
	return &callerStats{kind: kind, errors: map[string]int64{}, first: map[string]string{}}
}

func (s *callerStats) success(began time.Time) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ops++
	if !s.last.IsZero() {
		s.outage = max(s.outage, now.Sub(s.last))
	}
	s.last = now
	s.longest = max(s.longest, now.Sub(began))
}

// paused records the time between two successes of one caller, without the rest between them.
func (s *callerStats) paused(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pause = max(s.pause, d)
}

func (s *callerStats) failure(err error) {
	kind := errorKind(err)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.errors[kind]++; s.first[kind] == "" {
		s.first[kind] = err.Error()
	}
}

// errorKind classifies an error by whether the command may have been executed.
func errorKind(err error) string {
	var ce *respool.ConnError
	var se *respool.ServerError
	switch {
	case errors.As(err, &ce) && ce.Sent:
		return "sent, outcome unknown"
	case errors.As(err, &ce), errors.Is(err, respool.ErrPoolExhausted):
		return "not sent"
	case errors.As(err, &se):
		return "refused: " + se.Code
	}
	return "other"
}
