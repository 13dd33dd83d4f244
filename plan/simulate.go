package plan

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// Scenario is what a simulation plays beside the load.
type Scenario struct {
	Connections int             // of a process
	Commands    int             // how many to play; default 2,000,000
	Seed        uint64          // the same seed gives the same outcome
	Trace       []time.Duration // recorded times to draw from instead of the lognormal distribution
	StallEvery  time.Duration   // the server stands still so often, at random, on average; 0: never
	StallFor    time.Duration   // and for so long each time
	Deploy      Deploy          // a rolling deployment to play as well, without stalls; the zero value: none
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
	Deploy    Deployment // what the deployment came to
}

// Simulate plays a load event by event, first come first served.
func Simulate(l Load, s Scenario) (Outcome, error) {
	l, err := l.withDefaults()
	if err != nil {
		return Outcome{}, err
	}
	if s, err = s.withDefaults(); err != nil {
		return Outcome{}, err
	}
	d, err := Fit(l.Mean, l.P99)
	if err != nil {
		return Outcome{}, err
	}
	out := newSimulation(s, d, 0).play(l)
	if s.Deploy.Pods > 0 {
		out.Deploy = s.roll(l, d)
	}
	return out, nil
}

func (s Scenario) withDefaults() (Scenario, error) {
	if s.Commands == 0 {
		s.Commands = 2_000_000
	}
	switch {
	case s.Connections < 1:
		return s, fmt.Errorf("plan: %d connections: want 1 or more", s.Connections)
	case s.Commands < 1:
		return s, fmt.Errorf("plan: %d commands: want 1 or more", s.Commands)
	case s.StallEvery < 0 || s.StallFor < 0 || (s.StallEvery > 0) != (s.StallFor > 0):
		return s, errors.New("plan: stalls need both how often and how long")
	}
	for i, t := range s.Trace {
		if t <= 0 {
			return s, fmt.Errorf("plan: element %d of the trace is %v: want a time", i, t)
		}
	}
	var err error
	s.Deploy, err = s.Deploy.withDefaults(s.Connections)
	return s, err
}

// simulation is one run of one process. Times are in seconds.
type simulation struct {
	r      *rand.Rand
	s      Scenario
	d      Lognormal
	most   int       // it ends when more than so many commands were late; default: all may be
	until  float64   // it ends then; default: when all commands were played
	dial   float64   // what opening a connection takes
	open   times     // when each open connection is given back
	dialed []float64 // when each of the others was opened
	stops  []pause   // of the server, in order: those that may still matter, and one ahead
	out    Outcome
}

// pause is a time in which the server does nothing.
type pause struct{ from, to float64 }

// newSimulation is of a process with all its connections open.
func newSimulation(s Scenario, d Lognormal, stream uint64) *simulation {
	return &simulation{
		r: rand.New(rand.NewPCG(s.Seed, 0x9e3779b97f4a7c15+stream)), s: s, d: d,
		most: s.Commands, open: make(times, s.Connections),
	}
}

func (m *simulation) play(l Load) Outcome {
	batches := l.Rate * l.Burst
	late := l.Wait.Seconds()
	now, held, waited, longest := 0.0, 0.0, 0.0, 0.0
	waiting, lateOnes := 0, 0
	for m.out.Commands < m.s.Commands && lateOnes <= m.most {
		now += m.r.ExpFloat64() / batches
		if m.until > 0 && now > m.until {
			break
		}
		for len(m.stops) > 1 && m.stops[0].to < now {
			m.stops = m.stops[1:]
			m.out.Stalls++
		}
		for range l.Parallel {
			begin := m.begin(now)
			end := m.serve(begin)
			held += end - begin
			m.open.replace(end)
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
	n := max(1, float64(m.out.Commands))
	m.out.Waiting, m.out.Late = float64(waiting)/n, float64(lateOnes)/n
	m.out.MeanWait, m.out.MaxWait = duration(waited/n), duration(longest)
	m.out.Busy, m.out.Simulated = held/now, duration(now)
	return m.out
}

// begin is when a command that comes now has a connection, which is the first
// of open then. If none is free it opens one, up to the ceiling.
func (m *simulation) begin(now float64) float64 {
	if len(m.open) == m.s.Connections || len(m.open) > 0 && m.open[0] <= now {
		return max(now, m.open[0])
	}
	m.dialed = append(m.dialed, now)
	m.open.add(now)
	return now + m.dial
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

// replace puts another time in the place of the earliest.
func (t times) replace(at float64) {
	i := 0
	for {
		child := 2*i + 1
		if child >= len(t) {
			break
		}
		if child+1 < len(t) && t[child+1] < t[child] {
			child++
		}
		if at <= t[child] {
			break
		}
		t[i] = t[child]
		i = child
	}
	t[i] = at
}

// add puts in a time that is no later than any other.
func (t *times) add(at float64) {
	*t = append(*t, at)
	for i := len(*t) - 1; i > 0; i = (i - 1) / 2 {
		(*t)[i] = (*t)[(i-1)/2]
	}
	(*t)[0] = at
}
