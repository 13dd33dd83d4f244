package plan

import (
	"math"
	"time"
)

// queue is a load of single commands on c connections. It uses Erlang's C formula, which is exact
// for exponential times. For other times, it scales the waits by (1+v)/2, where v is the squared
// coefficient of variation.
type queue struct {
	waiting float64 // share of commands that wait at all
	leaves  float64 // decay rate of the share that still waits, per second
}

func newQueue(l Load, d Lognormal, c int) queue {
	a := l.Offered()
	if a >= float64(c) {
		return queue{waiting: 1} // the load exceeds the connections, so the queue grows without limit
	}
	blocked := 1.0 // share of commands without a free connection if none could wait, with n connections
	for n := 1; n <= c; n++ {
		blocked = a * blocked / (float64(n) + a*blocked)
	}
	busy := a / float64(c)
	return queue{
		waiting: blocked / (1 - busy + busy*blocked),
		leaves:  (float64(c) - a) / l.Mean.Seconds() / ((1 + d.Variation()) / 2),
	}
}

// late returns the share of commands that wait longer than t.
func (q queue) late(t time.Duration) float64 { return q.waiting * math.Exp(-q.leaves*t.Seconds()) }

// within returns the time that at most a share p of the commands exceeds, at most an hour.
func (q queue) within(p float64) time.Duration {
	if q.waiting <= p {
		return 0
	}
	return duration(min(math.Log(q.waiting/p)/q.leaves, 3600))
}
