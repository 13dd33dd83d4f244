package gateway

import (
	"context"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/engine"
	"github.com/seed-2b0d76a6/respool/internal/gateway/session"
)

// dedicated holds the dedicated connections of a client. The client's lock guards it.
type dedicated struct {
	pin      *engine.Lease   // of the session: WATCH, CLIENT TRACKING, SCRIPT DEBUG
	unpinned chan struct{}   // closed when the session releases pin
	monitor  *engine.Lease   // of MONITOR
	blocked  *blockedCommand // the blocking command that runs
}

// setPin stores the session's dedicated connection. It returns a channel that closes when the session releases it.
func (d *dedicated) setPin(l *engine.Lease) (unpinned <-chan struct{}) {
	d.pin, d.unpinned = l, make(chan struct{})
	return d.unpinned
}

// pinLost reports whether the connection of the session has ended.
func (d *dedicated) pinLost() bool { return d.pin != nil && d.pin.Lane().Depth() < 0 }

// notice passes replies that came on the session's connection to its lease.
func (d *dedicated) notice(frames [][]byte) {
	if d.pin == nil {
		return
	}
	for _, f := range frames {
		d.pin.Notice(f)
	}
}

// release releases the connections that the session does not need any more.
func (d *dedicated) release(rel session.Release) {
	if d.pin != nil && rel.Conn != session.Keep {
		d.pin.Lane().OnPush(nil, false)
		close(d.unpinned)
		if rel.Conn == session.Clean {
			d.pin.Release()
		} else {
			d.pin.Destroy(rel.Reason)
		}
		d.pin = nil
	}
	if rel.Monitor && d.monitor != nil {
		d.monitor.Destroy(rel.Reason)
		d.monitor = nil
	}
}

// releaseLocked releases the dedicated connections that the session does not need any more.
func (c *client) releaseLocked(rel session.Release) {
	c.dedicated.release(rel)
	a := c.allowance
	if a == nil {
		return
	}
	if c.dedicated.pin == nil {
		a.pin.Release()
		a.pin = nil
	}
	if c.dedicated.monitor == nil {
		a.monitor.Release()
		a.monitor = nil
	}
}

// countConnection waits until the user of the client may hold one more dedicated connection. free must follow.
func (w *worker) countConnection(ctx context.Context) (free func(), err error) {
	if w.counted == nil {
		return func() {}, nil
	}
	w.setWaits(waitsForConnection)
	defer w.setWaits(notWaiting)
	if err := w.counted.Acquire(ctx, w.c.g.settings.Load().LimitWait); err != nil {
		return nil, err
	}
	w.holds = w.counted
	return func() { w.holds.Release() }, nil
}

// takesConnection reports whether the worker's command takes a dedicated connection.
func (w *worker) takesConnection() bool {
	if w.step == nil {
		return false
	}
	switch w.step.Kind {
	case session.Pin, session.Dedicated, session.Wait, session.Monitor:
		return true
	}
	return w.step.Kind == session.Transaction && w.step.Restore
}

// count adds the connections that a client with this session holds.
func (d *dedicated) count(s *Stats, of *session.Session) {
	if d.blocked != nil {
		s.PinnedBy["blocking"]++
	}
	if d.pin != nil {
		s.Pinned++
		for _, why := range of.Pins() {
			s.PinnedBy[why]++
		}
	}
	if d.monitor != nil {
		s.Pinned++
		s.PinnedBy["MONITOR"]++
	}
}

// waitReason is the reason why a worker has not sent its command yet.
type waitReason uint8

const (
	notWaiting waitReason = iota
	waitsForConnection
	waitsForResume
)

// String returns the state of the client for RESPOOL CLIENTS.
func (w waitReason) String() string { return [...]string{"", "waiting", "paused"}[w] }

// acquire waits for a dedicated connection.
func (w *worker) acquire(ctx context.Context) (*engine.Lease, error) {
	w.setWaits(waitsForConnection)
	defer w.setWaits(notWaiting)
	return w.c.g.engine.Lease(ctx, w.key)
}

func (c *client) setWaits(reason waitReason) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.execution.waits = reason
}

// setWaits notes what the worker waits for, and sums the time.
func (w *worker) setWaits(reason waitReason) {
	now := time.Now()
	if !w.waitsSince.IsZero() {
		w.waited += now.Sub(w.waitsSince)
	}
	if w.waitsSince = (time.Time{}); reason != notWaiting {
		w.waitsSince = now
	}
	w.c.setWaits(reason)
}
