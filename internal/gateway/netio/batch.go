package netio

import (
	"time"

	"github.com/seed-2b0d76a6/respool/internal/lane"
)

// FlushBatch collects the lanes and the outputs that got bytes while a goroutine takes requests of one or more clients,
// so that each is written once. One goroutine owns a batch. The zero value is empty.
type FlushBatch struct {
	lanes   []*lane.Lane
	outputs []*Output
	now     int64
}

// Now returns the time of the batch in Unix nanoseconds. It is the same until Flush, so most calls read no clock.
func (f *FlushBatch) Now() int64 {
	if f.now == 0 {
		f.now = time.Now().UnixNano()
	}
	return f.now
}

// AddLane notes a lane with a new command.
func (f *FlushBatch) AddLane(l *lane.Lane) {
	for _, x := range f.lanes {
		if x == l {
			return
		}
	}
	f.lanes = append(f.lanes, l)
}

// AddOutput notes an output that was empty before.
func (f *FlushBatch) AddOutput(o *Output) { f.outputs = append(f.outputs, o) }

// Flush writes everything and empties the batch.
func (f *FlushBatch) Flush() { f.flush(false) }

// flushTogether is Flush for one of many goroutines that post to the same lanes: one of them may write for all.
func (f *FlushBatch) flushTogether() { f.flush(true) }

func (f *FlushBatch) flush(company bool) {
	f.now = 0
	for i, l := range f.lanes {
		l.Flush(company)
		f.lanes[i] = nil
	}
	f.lanes = f.lanes[:0]
	for i, o := range f.outputs {
		o.Flush()
		f.outputs[i] = nil
	}
	f.outputs = f.outputs[:0]
}
