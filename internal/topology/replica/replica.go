// Package replica judges whether a replica may take reads: it must answer, have a link to its primary, and have the
// writes of a given age. It does no I/O, starts no goroutines and reads no clock.
//
// It does not choose among the usable replicas.
package replica

import (
	"fmt"
	"slices"
	"time"
)

// Health is what is known about one replica.
type Health struct {
	doubted bool   // its own answer is needed
	asked   bool   // an answer has arrived
	trouble string // why the last answer excludes it
}

// Doubt excludes the replica until it answers that it is healthy. It reports whether that is news.
func (h *Health) Doubt() bool {
	news := !h.doubted
	if news {
		h.doubted, h.asked = true, false
	}
	return news
}

// Doubted reports whether Doubt applies.
func (h *Health) Doubted() bool { return h.doubted }

// Answered judges the replica's answer to ROLE. lag is the minimum age of the oldest write that it lacks, and limit the
// largest allowed one; 0: any.
func (h *Health) Answered(role Role, lag, limit time.Duration) {
	h.asked = true
	switch {
	case !role.Is("slave"):
		h.trouble = role.Text()
	case role.Link != "connected":
		h.trouble = "says that its link to the primary is in state " + role.Link
	case limit > 0 && lag > limit:
		h.trouble = fmt.Sprintf("lags by %v or more", lag)
	default:
		h.trouble, h.doubted = "", false
	}
}

// Reason returns why the replica is excluded, or "". needed: it is excluded until its first answer.
func (h *Health) Reason(needed bool) string {
	switch {
	case !h.asked && (h.doubted || needed):
		return "has not said yet how it does"
	case h.doubted || needed:
		return h.trouble
	}
	return ""
}

// Trouble returns why the last answer excludes the replica, or "".
func (h *Health) Trouble() string { return h.trouble }

// maxSamples is the maximum number of stored offsets of a primary.
const maxSamples = 32

// Offsets is the history of a primary's replication offset. The zero Offsets is empty.
type Offsets struct{ samples []sample } // at each observed increase

type sample struct {
	at     time.Duration
	offset int64
}

// Add records the primary's offset at a time.
func (o *Offsets) Add(now time.Duration, offset int64) {
	if n := len(o.samples); n > 0 && o.samples[n-1].offset >= offset {
		return
	}
	if len(o.samples) >= maxSamples {
		o.samples = slices.Delete(o.samples, 0, 1)
	}
	o.samples = append(o.samples, sample{now, offset})
}

// Lag returns the minimum age of the oldest write that a replica at offset lacks.
func (o *Offsets) Lag(now time.Duration, offset int64) time.Duration {
	for _, s := range o.samples {
		if s.offset > offset {
			return now - s.at
		}
	}
	return 0
}
