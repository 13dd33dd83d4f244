//go:build unix

package redistest

import (
	"sync"
	"time"
)

// ClientWatch samples the number of connections that the server counts. Its methods are safe for
// concurrent use.
type ClientWatch struct {
	s    *Server
	look func() (n int, seen string, err error)
	stop chan struct{}
	once sync.Once
	done sync.WaitGroup

	mu      sync.Mutex
	peak    int
	atPeak  string // the list of that sample, if any
	samples int
}

// sampleEvery is the time between two samples of a watch.
const sampleEvery = 2 * time.Millisecond

// WatchClients starts to sample INFO clients on the control connection. It takes no samples while the
// server is down. The watch ends with Stop, or with the test.
func (s *Server) WatchClients() *ClientWatch {
	return s.watch(func() (int, string, error) {
		n, err := s.count()
		return n, "", err
	})
}

func (s *Server) watch(look func() (int, string, error)) *ClientWatch {
	w := &ClientWatch{s: s, look: look, stop: make(chan struct{})}
	w.done.Go(w.run)
	s.t.Cleanup(w.end)
	return w
}

func (w *ClientWatch) run() {
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for {
		select {
		case <-w.stop:
			return
		case <-tick.C:
		}
		n, seen, err := w.look()
		if err != nil {
			continue
		}
		w.mu.Lock()
		if n > w.peak {
			w.peak, w.atPeak = n, seen
		}
		w.samples++
		w.mu.Unlock()
	}
}

func (w *ClientWatch) end() {
	w.once.Do(func() { close(w.stop) })
	w.done.Wait()
}

// Peak is the largest number of connections so far, without those of this package.
func (w *ClientWatch) Peak() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.peak
}

// AtPeak lists the connections counted at the peak, for WatchOutsiders.
func (w *ClientWatch) AtPeak() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.atPeak
}

// Stop ends the watch and returns the peak. It fails the test if the watch took no sample.
func (w *ClientWatch) Stop() int {
	w.end()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.samples == 0 {
		w.s.t.Error("the watch took no sample")
	}
	return w.peak
}
