package plan

import (
	"math"
	"time"
)

// queue is a load on c connections: batches of k commands arrive at random. Its
// states are solved exactly for exponential times (for k = 1 that is Erlang's C); times that vary more or
// less than those stretch or shrink the waits by (1+v)/2, v their squared coefficient of variation.
type queue struct {
	c, k    int
	drain   float64 // commands done a second while all connections are held
	stretch float64
	full    bool      // more comes than goes: the line has no end
	at      []float64 // at[n]: the share of time with n commands held or waiting
}

const (
	negligible = 1e-15
	mostStates = 4 << 20
)

func newQueue(l Load, d Lognormal, c int) *queue {
	mu := 1 / l.Mean.Seconds()
	q := &queue{c: c, k: l.Parallel, drain: float64(c) * mu, stretch: (1 + d.Variation()) / 2}
	if l.Offered() >= float64(c) {
		q.full = true
		return q
	}
	q.solve(l.Rate*l.Burst, mu)
	return q
}

// solve finds the shares of time. Between n and n+1 the ways up and down are
// even: min(n+1,c) mu at[n+1] = batches x (at[n-k+1] + ... + at[n]).
func (q *queue) solve(batches, mu float64) {
	q.at = append(q.at, 1)
	sum, window := 1.0, 1.0 // of all, and of the last k
	for n := 0; n < mostStates; n++ {
		p := batches * window / (float64(min(n+1, q.c)) * mu)
		q.at = append(q.at, p)
		sum += p
		window += p
		if n+1 >= q.k {
			window -= q.at[n+1-q.k]
		}
		window = max(window, p)
		if sum > 1e200 {
			for i := range q.at {
				q.at[i] /= sum
			}
			window /= sum
			sum = 1
		}
		if n > q.c+q.k && p < negligible*sum {
			break
		}
	}
	for i := range q.at {
		q.at[i] /= sum
	}
}

// late is the share of commands that wait for longer than t. A command of a
// batch that finds n before it waits for n-c+1 to be done.
func (q *queue) late(t time.Duration) float64 {
	if q.full {
		return 1
	}
	// Of k commands of a batch the j-th finds n+j before it.
	share := 0.0
	arrive := 0.0 // the chance of n before a command, times k
	poisson := newPoisson(q.drain * t.Seconds() / q.stretch)
	for n := 0; n < len(q.at)+q.k; n++ {
		if n < len(q.at) {
			arrive += q.at[n]
		}
		if i := n - q.k; i >= 0 && i < len(q.at) {
			arrive -= q.at[i]
		}
		if n >= q.c && arrive > 0 {
			share += arrive / float64(q.k) * poisson.atMost(n-q.c)
		}
	}
	return min(1, share)
}

// within is the time that no more than a share p of the commands wait longer than.
func (q *queue) within(p float64) time.Duration {
	low, high := time.Duration(0), time.Millisecond
	for q.late(high) > p && high < time.Hour {
		low, high = high, 2*high
	}
	for high-low > high/1000+1 {
		if mid := (low + high) / 2; q.late(mid) > p {
			low = mid
		} else {
			high = mid
		}
	}
	return high
}

// poisson sums the distribution of how many are done in a time.
type poisson struct {
	mean, logTerm, sum float64
	n                  int // sum is of the terms 0 to n
}

func newPoisson(mean float64) *poisson {
	return &poisson{mean: mean, logTerm: -mean, sum: math.Exp(-mean)}
}

// atMost is the chance of n or fewer; n must not fall from call to call.
func (p *poisson) atMost(n int) float64 {
	if p.mean == 0 {
		return 1
	}
	for p.n < n {
		p.n++
		p.logTerm += math.Log(p.mean) - math.Log(float64(p.n))
		p.sum += math.Exp(p.logTerm)
	}
	return min(1, p.sum)
}
