package plan

import (
	"math"
	"time"
)

// queue is a load of single commands on c connections. For exponential times
// it is Erlang's C formula; times that vary more or less than those stretch or
// shrink the waits by (1+v)/2, v their squared coefficient of variation.
type queue struct {
	waiting float64 // the share of commands that wait at all
	leaves  float64 // by what the share of those that still wait falls in a second, as an exponent
}

func newQueue(l Load, d Lognormal, c int) queue {
	a := l.Offered()
	if a >= float64(c) {
		return queue{waiting: 1} // more comes than goes: the line has no end
	}
	blocked := 1.0 // the share that would be refused if nobody could wait, with n connections
	for n := 1; n <= c; n++ {
		blocked = a * blocked / (float64(n) + a*blocked)
	}
	busy := a / float64(c)
	return queue{
		waiting: blocked / (1 - busy + busy*blocked),
		leaves:  (float64(c) - a) / l.Mean.Seconds() / ((1 + d.Variation()) / 2),
	}
}

// late is the share of commands that wait for longer than t.
func (q queue) late(t time.Duration) float64 { return q.waiting * math.Exp(-q.leaves*t.Seconds()) }

// within is the time that no more than a share p of the commands wait longer
// than, an hour at most.
func (q queue) within(p float64) time.Duration {
	if q.waiting <= p {
		return 0
	}
	return duration(min(math.Log(q.waiting/p)/q.leaves, 3600))
}
