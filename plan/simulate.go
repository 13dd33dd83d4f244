package plan

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// Scenario configures a simulation.
type Scenario struct {
	Connections int             // of a process
	Commands    int             // commands to simulate; default 2,000,000
	Seed        uint64          // the same seed returns the same outcome
	Trace       []time.Duration // recorded times that replace the lognormal distribution
	StallEvery  time.Duration   // average interval of random stalls of the server; 0: none
	StallFor    time.Duration   // duration of each stall
	Deploy      Deploy          // a rolling deployment to simulate as well, without stalls; the zero value: none
}

// Outcome contains the measurements of a simulation.
type Outcome struct {
	Commands  int
	Waiting   float64       // share of commands that waited at all
	Late      float64       // share that waited longer than Load.Wait
	MeanWait  time.Duration // of all commands
	MaxWait   time.Duration
	Busy      float64 // connections in use, on average over time
	Stalls    int
	Simulated time.Duration
	Deploy    Deployment // measurements of the deployment
}

// Simulate simulates a load event by event. Commands wait in order. It blocks while it computes.
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
		return s, errors.New("plan: stalls need both an interval and a duration")
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
	most   int       // it ends after more than this number of late commands; default: no limit
	until  float64   // it ends at this time; default: after all commands
	dial   float64   // time to open a connection
	open   times     // for each open connection, when it is released
	dialed []float64 // for each further connection, when it was opened
	stops  []pause   // stalls of the server, in order: those that may still matter, and the next one
	out    Outcome
}

// pause is a stall of the server.
type pause struct{ from, to float64 }

// newSimulation returns a simulation of a process with all connections open.
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

// begin returns when a command that arrives at now gets a connection, which is then the first of
// open. If none is free, it opens one, up to the limit.
func (m *simulation) begin(now float64) float64 {
	if len(m.open) == m.s.Connections || len(m.open) > 0 && m.open[0] <= now {
		return max(now, m.open[0])
	}
	m.dialed = append(m.dialed, now)
	m.open.add(now)
	return now + m.dial
}

// serve returns when a command that begins at this time is done. The server does nothing during a
// stall.
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

// plan draws the next stall of the server.
func (m *simulation) plan() {
	last := 0.0
	if n := len(m.stops); n > 0 {
		last = m.stops[n-1].to
	}
	from := last + m.r.ExpFloat64()*m.s.StallEvery.Seconds()
	m.stops = append(m.stops, pause{from, from + m.s.StallFor.Seconds()})
}

func duration(seconds float64) time.Duration { return time.Duration(seconds * float64(time.Second)) }

// times is a heap, the earliest first.
type times []float64

// replace replaces the earliest time.
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

// add adds a time that is not later than any other.
func (t *times) add(at float64) {
	*t = append(*t, at)
	for i := len(*t) - 1; i > 0; i = (i - 1) / 2 {
		(*t)[i] = (*t)[(i-1)/2]
	}
	(*t)[0] = at
}
