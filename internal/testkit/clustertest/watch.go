//go:build unix

package clustertest

import (
	"slices"
	"strings"
	"sync"
	"time"
)

// Watch samples the connections of clients that each node counts, every 2 ms. It takes no samples of
// a node while the node is down or paused. Its methods are safe for concurrent use.
type Watch struct {
	c    *Cluster
	stop chan struct{}
	once sync.Once
	done sync.WaitGroup

	mu    sync.Mutex
	nodes map[*Node]*sampled
	spans []*span
}

// sampled is the state of a node.
type sampled struct {
	samples, peak int
	atPeak        string           // CLIENT LIST of the peak
	open          map[string]*span // of the last sample, by ID and address
}

// span is a connection, and a period in which it was open for sure: from the end of the first sample
// that contains it to the start of the last one. A connection in one sample has none: its last is
// before its first.
type span struct {
	line        string
	first, last time.Time
}

// sampleEvery is the time between two samples of a node.
const sampleEvery = 2 * time.Millisecond

// Watch starts to sample all nodes, and the nodes that join later. It ends with Stop, or with the test.
func (c *Cluster) Watch() *Watch {
	w := &Watch{c: c, stop: make(chan struct{}), nodes: map[*Node]*sampled{}}
	c.mu.Lock()
	c.watches = append(c.watches, w)
	for _, n := range c.nodes {
		w.add(n)
	}
	c.mu.Unlock()
	c.t.Cleanup(func() {
		for _, n := range c.Nodes() {
			if n.Running() && !n.Responsive() {
				n.Resume() // a sample may wait for its reply
			}
		}
		w.end()
	})
	return w
}

// add starts to sample a node.
func (w *Watch) add(n *Node) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.nodes[n] = &sampled{}
	select {
	case <-w.stop:
	default:
		w.done.Go(func() { w.run(n) })
	}
}

func (w *Watch) run(n *Node) {
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for {
		select {
		case <-w.stop:
			return
		case <-tick.C:
		}
		if n.Running() && !n.Responsive() {
			continue // paused: its connections stay open
		}
		began := time.Now()
		lines, err := n.Outsiders()
		w.record(n, lines, err, began, time.Now())
	}
}

// record takes a sample between two points in time.
func (w *Watch) record(n *Node, lines []string, err error, began, ended time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.nodes[n]
	if err != nil {
		s.open = nil
		return
	}
	s.samples++
	if len(lines) > s.peak {
		s.peak, s.atPeak = len(lines), strings.Join(lines, "")
	}
	open := map[string]*span{}
	for _, line := range lines {
		f := strings.Fields(line)
		key := f[0] + " " + f[1] // id and addr
		sp := s.open[key]
		if sp == nil {
			sp = &span{first: ended}
			w.spans = append(w.spans, sp)
		} else {
			sp.last = began
		}
		sp.line = n.Addr() + ": " + line
		open[key] = sp
	}
	s.open = open
}

// PeakOf is the largest number of connections that a node counted.
func (w *Watch) PeakOf(n *Node) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	if s := w.nodes[n]; s != nil {
		return s.peak
	}
	return 0
}

// Peak is the largest number of connections that all nodes counted together at one time. It never
// counts connections that were open one after the other. So it leaves out a connection that only one
// sample contains, unless a node alone counted more.
func (w *Watch) Peak() int {
	peak, _ := w.peak()
	return peak
}

// AtPeak lists the connections of the peak.
func (w *Watch) AtPeak() string {
	_, lines := w.peak()
	return lines
}

func (w *Watch) peak() (peak int, lines string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.nodes {
		if s.peak > peak {
			peak, lines = s.peak, s.atPeak
		}
	}
	var starts, ends []time.Time
	for _, sp := range w.spans {
		if !sp.last.Before(sp.first) {
			starts, ends = append(starts, sp.first), append(ends, sp.last)
		}
	}
	slices.SortFunc(starts, time.Time.Compare)
	slices.SortFunc(ends, time.Time.Compare)
	var at time.Time
	closed, together := 0, 0
	for i, start := range starts {
		for closed < len(ends) && ends[closed].Before(start) {
			closed++
		}
		if i+1-closed > max(peak, together) {
			together, at = i+1-closed, start
		}
	}
	if together == 0 {
		return peak, lines
	}
	lines = ""
	for _, sp := range w.spans {
		if !sp.first.After(at) && !sp.last.Before(at) {
			lines += sp.line
		}
	}
	return together, lines
}

func (w *Watch) end() {
	w.once.Do(func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		close(w.stop)
	})
	w.done.Wait()
}

// Stop ends the watch and returns the peak. It fails the test if the watch took no sample of any node.
func (w *Watch) Stop() int {
	w.end()
	w.mu.Lock()
	samples := 0
	for _, s := range w.nodes {
		samples += s.samples
	}
	w.mu.Unlock()
	if samples == 0 {
		w.c.t.Error("the watch took no sample")
	}
	return w.Peak()
}
