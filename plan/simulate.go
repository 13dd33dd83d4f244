package plan

import (
	"container/heap"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// Scenario is what a simulation plays beside the load.
type Scenario struct {
	Connections int
	Commands    int             // how many to play; default 2,000,000
	Seed        uint64          // the same seed gives the same result
	Trace       []time.Duration // recorded times to draw from instead of the lognormal distribution
	StallEvery  time.Duration   // the server stands still so often, at random, on average; 0: never
	StallFor    time.Duration   // and for so long each time
}

// Outcome is what a simulation saw.
type Outcome struct {
	Commands  int
	Waiting   float64       // the share of commands that waited at all
	Late      float64       // the share that waited longer than Load.Wait
	MeanWait  time.Duration // of all commands
	MaxWait   time.Duration
	Busy      float64 // connections held, on average over time
	Stalls    int
	Simulated time.Duration
}

// Simulate plays a load event by event, first come first served.
func Simulate(l Load, s Scenario) (Outcome, error) {
	l, err := l.withDefaults()
	if err != nil {
		return Outcome{}, err
	}
	if s.Commands == 0 {
		s.Commands = 2_000_000
	}
	switch {
	case s.Connections < 1:
		return Outcome{}, fmt.Errorf("plan: %d connections: want 1 or more", s.Connections)
	case s.Commands < 1:
		return Outcome{}, fmt.Errorf("plan: %d commands: want 1 or more", s.Commands)
	case s.StallEvery < 0 || s.StallFor < 0 || (s.StallEvery > 0) != (s.StallFor > 0):
		return Outcome{}, errors.New("plan: stalls need both how often and how long")
	}
	for i, t := range s.Trace {
		if t <= 0 {
			return Outcome{}, fmt.Errorf("plan: element %d of the trace is %v: want a time", i, t)
		}
	}
	d, err := Fit(l.Mean, l.P99)
	if err != nil {
		return Outcome{}, err
	}
	run := &simulation{r: rand.New(rand.NewPCG(s.Seed, 0x9e3779b97f4a7c15)), s: s, d: d}
	return run.play(l), nil
}

// simulation is one run. Times are in seconds.
type simulation struct {
	r     *rand.Rand
	s     Scenario
	d     Lognormal
	free  times   // when each connection is given back
	stops []pause // of the server, in order: those that may still matter, and one ahead
	out   Outcome
}

// pause is a time in which the server does nothing.
type pause struct{ from, to float64 }

func (m *simulation) play(l Load) Outcome {
	m.free = make(times, m.s.Connections)
	batches := l.Rate * l.Burst
	late := l.Wait.Seconds()
	now, held, waited, longest := 0.0, 0.0, 0.0, 0.0
	waiting, lateOnes := 0, 0
	for m.out.Commands < m.s.Commands {
		now += m.r.ExpFloat64() / batches
		for len(m.stops) > 1 && m.stops[0].to < now {
			m.stops = m.stops[1:]
			m.out.Stalls++
		}
		for range l.Parallel {
			begin := max(now, m.free[0])
			end := m.serve(begin)
			held += end - begin
			m.free[0] = end
			heap.Fix(&m.free, 0)
			wait := begin - now
			waited += wait
			longest = max(longest, wait)
			if wait > 0 {
				waiting++
			}
			if wait > late {
				lateOnes++
			}
			m.out.Commands++
		}
	}
	n := float64(m.out.Commands)
	m.out.Waiting, m.out.Late = float64(waiting)/n, float64(lateOnes)/n
	m.out.MeanWait, m.out.MaxWait = duration(waited/n), duration(longest)
	m.out.Busy, m.out.Simulated = held/now, duration(now)
	return m.out
}

// serve gives when a command that begins at some moment is done: the server
// does nothing while it stands still.
func (m *simulation) serve(begin float64) float64 {
	work := m.d.draw(m.r)
	if n := len(m.s.Trace); n > 0 {
		work = m.s.Trace[m.r.IntN(n)].Seconds()
	}
	if m.s.StallEvery == 0 {
		return begin + work
	}
	for i := 0; ; i++ {
		if i == len(m.stops) {
			m.plan()
		}
		switch stop := m.stops[i]; {
		case begin >= stop.to:
		case begin+work <= stop.from:
			return begin + work
		default:
			work -= max(0, stop.from-begin)
			begin = stop.to
		}
	}
}

// plan draws when the server stands still the next time.
func (m *simulation) plan() {
	last := 0.0
	if n := len(m.stops); n > 0 {
		last = m.stops[n-1].to
	}
	from := last + m.r.ExpFloat64()*m.s.StallEvery.Seconds()
	m.stops = append(m.stops, pause{from, from + m.s.StallFor.Seconds()})
}

func duration(seconds float64) time.Duration { return time.Duration(seconds * float64(time.Second)) }

// times is a heap with the earliest on top.
type times []float64

func (t times) Len() int           { return len(t) }
func (t times) Less(i, j int) bool { return t[i] < t[j] }
func (t times) Swap(i, j int)      { t[i], t[j] = t[j], t[i] }
func (t *times) Push(x any)        { *t = append(*t, x.(float64)) }
func (t *times) Pop() any {
	old := *t
	x := old[len(old)-1]
	*t = old[:len(old)-1]
	return x
}
