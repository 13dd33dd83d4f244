package plan

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"
)

// Deploy is a rolling deployment of pods with the same load each. The surge limits the new pods
// that start at a time. When a new pod is ready, an old one gets no more requests, drains and ends.
// As in Kubernetes, draining pods do not count against the surge, so the next pods start meanwhile.
type Deploy struct {
	Pods    int           // 0: no deployment
	Surge   float64       // additional pods at a time, as a share; default 0.25; None: one pod ends first, and then its successor starts
	Workers int           // processes in a pod; default 1
	Start   time.Duration // from the start of a pod until it serves
	Drain   time.Duration // from the last request of an old pod until it ends; it keeps its connections meanwhile
	Dial    time.Duration // time to open a connection, which delays the command that needs it
	Warm    int           // connections that a process opens at its start, at most Scenario.Connections
	Held    int           // connections that a process holds in addition to its pool, from its start to its end
	Budget  int           // connections that the server has for all pods; 0: unknown
}

// Deployment is the simulated course of a rolling deployment.
type Deployment struct {
	Length    time.Duration // from the first start until the last old pod has ended
	Processes int           // maximum at a time
	Before    int           // connections before it, when each process has all of its connections open
	Peak      int           // maximum of connections at a time
	PeakAt    time.Duration // first time of that maximum
	Over      int           // connections over the budget; 0 if they fit
	Commands  int           // simulated commands
	Waiting   float64       // share of the commands that waited at all, for a connection or for its dial
	Late      float64       // the share that waited longer than Load.Wait
}

// mostDeployed is the maximum number of processes of a deployment.
const mostDeployed = 100_000

func (d Deploy) withDefaults(ceiling int) (Deploy, error) {
	if d.Pods == 0 {
		return d, nil
	}
	f, err := Fleet{Pods: d.Pods, Surge: d.Surge, Workers: d.Workers}.withDefaults()
	if err != nil {
		return d, err
	}
	d.Surge, d.Workers = f.Surge, f.Workers
	switch {
	case d.Pods > mostDeployed/d.Workers:
		return d, fmt.Errorf("plan: %d pods of %d processes are deployed: want %d processes at most", d.Pods, d.Workers, mostDeployed)
	case d.Start < 0 || d.Drain < 0 || d.Dial < 0:
		return d, fmt.Errorf("plan: a deployment has start %v, drain %v and dial %v: want durations of 0 or more", d.Start, d.Drain, d.Dial)
	case d.Warm < 0 || d.Warm > ceiling:
		return d, fmt.Errorf("plan: a process opens %d connections at its start: want 0 to %d", d.Warm, ceiling)
	case d.Held < 0 || d.Budget < 0:
		return d, fmt.Errorf("plan: a deployment has held %d and budget %d: want 0 or more", d.Held, d.Budget)
	}
	return d, nil
}

// turn contains the times of a pod's replacement by its successor, in seconds.
type turn struct{ starts, ready, stops, ends float64 }

func (d Deploy) turn(pod int) turn {
	start, drain := d.Start.Seconds(), d.Drain.Seconds()
	if d.Surge == 0 {
		from := float64(pod) * (drain + start)
		return turn{stops: from, ends: from + drain, starts: from + drain, ready: from + drain + start}
	}
	wave := float64(pod / int(math.Ceil(float64(d.Pods)*d.Surge-1e-9)))
	ready := (wave + 1) * start
	return turn{starts: wave * start, ready: ready, stops: ready, ends: ready + drain}
}

// change is an increase or decrease of connections and processes at one time.
type change struct {
	at                     float64
	connections, processes int
}

// roll simulates a deployment. Each process has its own requests. In large fleets, every n-th
// process is simulated and represents its neighbors.
func (s Scenario) roll(l Load, times Lognormal) Deployment {
	d := s.Deploy
	all := d.Pods * d.Workers
	last := d.turn(d.Pods - 1)
	length := max(last.ends, last.ready)
	if d.Surge == 0 && d.Pods > 1 {
		l.Rate *= float64(d.Pods) / float64(d.Pods-1) // the remaining pods serve the load of the missing one
	}
	every := max(1, int(math.Ceil(l.commandRate()*float64(all)*length/float64(s.Commands))))
	s.StallEvery, s.StallFor = 0, 0
	ceiling := s.Connections + d.Held
	var out Deployment
	var changes []change
	var dialed []float64
	waiting, late, played := 0.0, 0.0, 0.0
	count := func(o Outcome, stand float64) {
		n := float64(o.Commands) * stand
		played, waiting, late = played+n, waiting+n*o.Waiting, late+n*o.Late
		out.Commands += o.Commands
	}
	for i := range all {
		t := d.turn(i / d.Workers)
		if i%every == 0 {
			stand := float64(min(every, all-i))
			count(s.serveUntil(l, times, 2*uint64(i)+1, t.stops, s.Connections).out, stand)
			fresh := s.serveUntil(l, times, 2*uint64(i)+2, length-t.ready, d.Warm)
			count(fresh.out, stand)
			dialed = fresh.dialed
		}
		changes = append(changes, change{0, ceiling, 1}, change{t.ends, -ceiling, -1}, change{t.starts, d.Held + d.Warm, 1})
		for _, at := range dialed {
			if t.ready+at < length {
				changes = append(changes, change{t.ready + at, 1, 0})
			}
		}
	}
	out.Length, out.Before = duration(length), all*ceiling
	if played > 0 {
		out.Waiting, out.Late = waiting/played, late/played
	}
	out.peak(changes)
	if d.Budget > 0 {
		out.Over = max(0, out.Peak-d.Budget)
	}
	return out
}

// serveUntil simulates one process that starts with this number of open connections.
func (s Scenario) serveUntil(l Load, d Lognormal, stream uint64, until float64, open int) *simulation {
	run := newSimulation(s, d, stream)
	run.open, run.dial, run.until = run.open[:open], s.Deploy.Dial.Seconds(), until
	if until > 0 {
		run.play(l)
	}
	return run
}

// peak finds the maximum. At the same time, decreases come before increases.
func (o *Deployment) peak(changes []change) {
	slices.SortFunc(changes, func(a, b change) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.connections, b.connections))
	})
	connections, processes := 0, 0
	for _, c := range changes {
		connections += c.connections
		processes += c.processes
		o.Processes = max(o.Processes, processes)
		if connections > o.Peak {
			o.Peak, o.PeakAt = connections, duration(c.at)
		}
	}
}
