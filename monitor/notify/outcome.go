package notify

import (
	"time"

	"github.com/seed-2b0d76a6/respool/monitor"
)

// Outcome is what became of an alert in a queue.
type Outcome int

const (
	Unknown   Outcome = iota // the queue has not received the alert, or has forgotten it
	Waiting                  // no attempt has ended
	Retrying                 // all attempts failed so far, and more will follow
	Delivered                // the sink has accepted it
	Failed                   // given up
	Dropped                  // the queue was full or closed
	Unsent                   // not sent, because the sink does not know the beginning of this alert
)

// Delivery is the newest state of an alert in a queue, and what became of it.
type Delivery struct {
	Sink     string             // its name
	State    monitor.AlertState // Firing or Resolved
	Outcome  Outcome
	At       time.Time // of the outcome
	Attempts int       // that failed
	Err      error     // of the last failed attempt, also of a repetition; nil: none failed
	FailedAt time.Time // when that was
}

// deliveries are the deliveries of the alerts that changed last, by ID.
type deliveries struct {
	byID map[string]*Delivery
	most int
}

// begin records a new state of an alert.
func (d *deliveries) begin(a *monitor.Alert, o Outcome) {
	id := a.ID()
	if d.byID[id] == nil && len(d.byID) >= d.most {
		d.forgetOldest()
	}
	d.byID[id] = &Delivery{State: a.State, Outcome: o, At: time.Now()}
}

// forgetOldest forgets the alert whose outcome is the oldest.
func (d *deliveries) forgetOldest() {
	oldest := ""
	for id, one := range d.byID {
		if oldest == "" || one.At.Before(d.byID[oldest].At) {
			oldest = id
		}
	}
	delete(d.byID, oldest)
}

// end records what became of a state of alerts, unless they have a newer state.
func (d *deliveries) end(alerts []monitor.Alert, o Outcome) {
	for i := range alerts {
		if one := d.of(&alerts[i]); one != nil {
			one.Outcome, one.At = o, time.Now()
		}
	}
}

// attempted records the end of an attempt. err is nil if the sink accepted the alerts. A repetition that fails changes no
// outcome.
func (d *deliveries) attempted(alerts []monitor.Alert, err error) {
	for i := range alerts {
		one := d.of(&alerts[i])
		switch {
		case one == nil:
		case err == nil && one.Outcome == Delivered:
			one.Err, one.FailedAt = nil, time.Time{} // a repetition
		case err == nil:
			one.Outcome, one.At = Delivered, time.Now()
		default:
			one.Err, one.FailedAt = err, time.Now()
			if one.Outcome != Delivered {
				one.Outcome, one.At = Retrying, one.FailedAt
				one.Attempts++
			}
		}
	}
}

// of returns the delivery of a state of an alert; nil: it has a newer state, or is forgotten.
func (d *deliveries) of(a *monitor.Alert) *Delivery {
	if one := d.byID[a.ID()]; one != nil && one.State == a.State {
		return one
	}
	return nil
}

// Delivery returns what became of the newest state of an alert, by the ID of the alert. The queue remembers as many alerts as may
// wait in it: those that changed last.
func (q *Queue) Delivery(id string) Delivery {
	q.mu.Lock()
	defer q.mu.Unlock()
	var d Delivery
	if one := q.deliveries.byID[id]; one != nil {
		d = *one
	}
	d.Sink = q.sink.Name()
	return d
}
