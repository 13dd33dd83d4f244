// Package plan sizes connection pools: how many connections a process needs so that almost no
// command waits for one, and whether a whole fleet fits the limit of a server. It only computes: it
// contacts no server and does not depend on the client.
//
// The model is a queue. Commands arrive at random, alone or in batches. Each holds one of c
// connections for a time with a lognormal distribution. Commands that find no free connection wait
// in order. A formula covers single commands; batches are simulated event by event, as in Simulate.
//
// The package starts no goroutines. All functions are safe for concurrent use.
package plan

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// Load is the load of one process. The zero value of a field stands for its default.
type Load struct {
	Rate     float64       // requests a second, on average; required
	Burst    float64       // ratio of the peak to the average; default 1
	Parallel int           // commands that a request sends at a time; default 1
	Mean     time.Duration // how long a command holds a connection; required
	P99      time.Duration // 99th percentile of that time; default: that of an exponential distribution, 4.6 times Mean
	Wait     time.Duration // a command that waits longer for a connection is late; default: Mean, at least 1 ms
	Target   float64       // maximum share of late commands; default 0.001; at least 0.00001 if Parallel is more than 1
}

// At returns the load at one of several nodes of a cluster, over which the keys spread evenly.
func (l Load) At(nodes int) Load {
	l.Rate /= float64(max(1, nodes))
	return l
}

// ErrImpossible means that the load is inconsistent: no lognormal distribution has its Mean and
// P99, or too many commands would be in flight in one process.
var ErrImpossible = errors.New("plan: the load is inconsistent")

// withDefaults validates a load and sets the defaults.
func (l Load) withDefaults() (Load, error) {
	if l.Burst == 0 {
		l.Burst = 1
	}
	if l.Parallel == 0 {
		l.Parallel = 1
	}
	if l.P99 == 0 {
		l.P99 = time.Duration(float64(l.Mean) * math.Log(100))
	}
	if l.Wait == 0 {
		l.Wait = max(l.Mean, time.Millisecond)
	}
	if l.Target == 0 {
		l.Target = 0.001
	}
	switch {
	case !(l.Rate > 0) || math.IsInf(l.Rate, 1):
		return l, fmt.Errorf("plan: rate is %v: want requests per second above 0", l.Rate)
	case !(l.Burst >= 1) || math.IsInf(l.Burst, 1):
		return l, fmt.Errorf("plan: burst is %v: want the peak rate divided by the average rate, 1 or more", l.Burst)
	case l.Parallel < 1 || l.Parallel > 10_000:
		return l, fmt.Errorf("plan: parallel is %d: want 1 to 10000 concurrent commands of a request", l.Parallel)
	case l.Mean <= 0:
		return l, fmt.Errorf("plan: mean is %v: want the time that a command holds a connection, above 0", l.Mean)
	case l.Wait < 0:
		return l, fmt.Errorf("plan: wait is %v: want a duration of 0 or more", l.Wait)
	case !(l.Target > 0 && l.Target < 1):
		return l, fmt.Errorf("plan: target is %v: want a share of commands between 0 and 1", l.Target)
	case l.Parallel > 1 && l.Target < leastBatchTarget:
		return l, fmt.Errorf("plan: target is %v: want %v or more for commands in batches", l.Target, leastBatchTarget)
	}
	if a := l.Offered(); a > 100_000 {
		return l, fmt.Errorf("%w: %.0f commands would be in flight in one process: the rate or the mean is too large", ErrImpossible, a)
	}
	_, err := Fit(l.Mean, l.P99)
	return l, err
}

// commandRate returns the commands per second at the peak.
func (l Load) commandRate() float64 { return l.Rate * l.Burst * float64(l.Parallel) }

// Offered returns the average number of connections in use at the peak, without a limit: commands
// per second times the time for which each holds a connection (Little's law).
func (l Load) Offered() float64 { return l.commandRate() * l.Mean.Seconds() }

// Size is the need of one process for a client with one connection for each command in flight.
type Size struct {
	Connections int           // the smallest number with which at most Target of the commands are late
	MinIdle     int           // idle connections to keep: those in use at the average rate
	WaitTimeout time.Duration // the wait that one command in a million exceeds; at least twice P99 and 100 ms
	Offered     float64       // connections in use at the peak, on average
	Spread      float64       // standard deviation of Offered, without a limit
	Waiting     float64       // share of commands that wait at all
	Late        float64       // share that waits longer than Wait
}

// leastTimeout lets callers outlast the short stalls of every server.
const leastTimeout = 100 * time.Millisecond

// For returns the size for a load. For batches it simulates millions of commands for each number of
// connections that it tries. That takes a tenth of a second to ten seconds, the latter for 100,000
// connections in use or commands in a batch. The same load always returns the same size.
func For(l Load) (Size, error) {
	l, err := l.withDefaults()
	if err != nil {
		return Size{}, err
	}
	d, err := Fit(l.Mean, l.P99)
	if err != nil {
		return Size{}, err
	}
	return size(l, d, runLength(l)), nil
}

// size is For with this number of simulated commands for batches.
func size(l Load, d Lognormal, commands int) Size {
	a := l.Offered()
	spread := math.Sqrt(a * peakedness(l.Parallel, d))
	// The common rule is a good guess: three standard deviations above the mean.
	guess := int(math.Ceil(a + 3*spread))
	c := fewest(int(a), guess, func(c int) bool { return enough(l, d, c, commands) })
	m := measure(l, d, c, commands)
	wait := max(m.longest, 2*l.P99, leastTimeout).Round(time.Millisecond)
	return Size{
		Connections: c, MinIdle: min(c, int(math.Ceil(a/l.Burst))), WaitTimeout: wait, Offered: a, Spread: spread,
		Waiting: m.waiting, Late: m.late,
	}
}

// WaitProbability returns the share of commands that wait longer than t if the process has c
// connections. It is 1 if the load exceeds c connections.
func WaitProbability(l Load, c int, t time.Duration) (float64, error) {
	l, err := l.withDefaults()
	if err != nil {
		return 0, err
	}
	if c < 1 {
		return 0, fmt.Errorf("plan: %d connections: want 1 or more", c)
	}
	d, err := Fit(l.Mean, l.P99)
	if err != nil {
		return 0, err
	}
	if l.Offered() >= float64(c) {
		return 1, nil
	}
	l.Wait = t
	return measure(l, d, c, runLength(l)).late, nil
}
