// Package plan sizes connection pools: how many connections a process needs so
// that hardly any command waits for one, and whether a whole fleet of them fits
// into what a server takes. It computes; it asks no server and knows no client.
//
// The model is a queue: commands arrive at random, alone or in batches, each
// holds one of c connections for a time with a lognormal distribution, and those
// that find none free wait in line. For single commands there is a formula;
// batches are played event by event, as Simulate does.
//
// Nothing here starts goroutines, and all of it is safe for concurrent use.
package plan

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// Load is what one process does. The zero value of a field stands for its default.
type Load struct {
	Rate     float64       // requests a second, on average; has to be given
	Burst    float64       // how many times that at the peak for which is planned; default 1
	Parallel int           // commands that a request sends at a time; default 1
	Mean     time.Duration // how long a command holds a connection; has to be given
	P99      time.Duration // the time within which 99% give it back; default: that of an exponential distribution, 4.6 times Mean
	Wait     time.Duration // a command that waits longer than this for a connection is late; default: Mean, 1 ms at least
	Target   float64       // the share of commands that may be late; default 0.001; 0.00001 at least where Parallel is more than 1
}

// ErrImpossible is a load that no queue of this kind has.
var ErrImpossible = errors.New("plan: the load is inconsistent")

// withDefaults checks a load and fills in the defaults.
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
		return l, fmt.Errorf("plan: rate is %v: want requests a second, more than 0", l.Rate)
	case !(l.Burst >= 1) || math.IsInf(l.Burst, 1):
		return l, fmt.Errorf("plan: burst is %v: want 1 or more, the peak over the average", l.Burst)
	case l.Parallel < 1 || l.Parallel > 10_000:
		return l, fmt.Errorf("plan: parallel is %d: want 1 to 10000 commands at a time for a request", l.Parallel)
	case l.Mean <= 0:
		return l, fmt.Errorf("plan: mean is %v: want the time for which a command holds a connection", l.Mean)
	case l.Wait < 0:
		return l, fmt.Errorf("plan: wait is %v: want a time", l.Wait)
	case !(l.Target > 0 && l.Target < 1):
		return l, fmt.Errorf("plan: target is %v: want a share of commands between 0 and 1", l.Target)
	case l.Parallel > 1 && l.Target < leastBatchTarget:
		return l, fmt.Errorf("plan: target is %v: want %v or more for commands in batches", l.Target, leastBatchTarget)
	}
	if a := l.Offered(); a > 100_000 {
		return l, fmt.Errorf("%w: %.0f commands would be in flight at a time in one process: the rate or the mean is too large", ErrImpossible, a)
	}
	_, err := Fit(l.Mean, l.P99)
	return l, err
}

// commandRate is commands a second at the peak.
func (l Load) commandRate() float64 { return l.Rate * l.Burst * float64(l.Parallel) }

// Offered is how many connections are held at the peak on average, if there are
// enough: commands a second times the time each holds one (Little's law).
func (l Load) Offered() float64 { return l.commandRate() * l.Mean.Seconds() }

// Size is what a client with a connection for each command in flight needs in
// one process.
type Size struct {
	Connections int           // so that no more than Target of the commands are late
	MinIdle     int           // kept ready: those held at the average rate
	WaitTimeout time.Duration // what one command in a million waits; twice P99 and 100 ms at least
	Offered     float64       // connections held at the peak, on average
	Spread      float64       // the standard deviation of that, with as many connections as wanted
	Waiting     float64       // the share of commands that wait at all
	Late        float64       // the share that waits longer than Wait
}

// leastTimeout lets callers outlast the short stalls that every server has.
const leastTimeout = 100 * time.Millisecond

// For gives the size that a load needs. Of batches it plays some millions of
// commands for each number of connections that it tries, which takes from a
// tenth of a second to ten seconds where 100,000 are held or come at a time; the
// same load gives the same size.
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

// size is For, with so many commands played for each number of connections
// that is tried where batches have to be.
func size(l Load, d Lognormal, commands int) Size {
	a := l.Offered()
	spread := math.Sqrt(a * peakedness(l.Parallel, d))
	// The usual rule is near the answer: three standard deviations above the mean.
	guess := int(math.Ceil(a + 3*spread))
	c := fewest(int(a), guess, func(c int) bool { return enough(l, d, c, commands) })
	m := measure(l, d, c, commands)
	wait := max(m.longest, 2*l.P99, leastTimeout).Round(time.Millisecond)
	return Size{
		Connections: c, MinIdle: min(c, int(math.Ceil(a/l.Burst))), WaitTimeout: wait, Offered: a, Spread: spread,
		Waiting: m.waiting, Late: m.late,
	}
}

// WaitProbability is the share of commands of a load that wait for longer than
// t, where the process has c connections. It is 1 where the load has no end.
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
