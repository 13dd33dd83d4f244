//go:build unix

package redistest

import (
	"slices"
	"sync"
	"testing"
	"time"
)

// Monitor collects the output of MONITOR.
type Monitor struct {
	c    *client
	done sync.WaitGroup

	mu    sync.Mutex
	lines []string
}

// Monitor starts MONITOR on a new connection. It ends with Stop.
func (s *Server) Monitor(t testing.TB) *Monitor {
	t.Helper()
	c, err := s.dial()
	if err == nil {
		_, err = c.do("MONITOR")
	}
	if err == nil {
		err = c.conn.SetDeadline(time.Time{})
	}
	if err != nil {
		t.Fatalf("monitor: %v", err)
	}
	m := &Monitor{c: c}
	m.done.Go(func() {
		for {
			line, err := c.read()
			if err != nil {
				return
			}
			m.mu.Lock()
			m.lines = append(m.lines, line)
			m.mu.Unlock()
		}
	})
	t.Cleanup(func() { m.Stop() })
	return m
}

// Stop ends MONITOR and returns the lines so far.
func (m *Monitor) Stop() []string {
	_ = m.c.conn.SetReadDeadline(time.Unix(1, 0))
	m.done.Wait()
	m.c.conn.Close()
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.lines)
}
