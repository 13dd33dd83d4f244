package pubsub

import (
	"errors"
	"math/rand/v2"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/pool"
)

// ending is the way in which a connection ended.
type ending uint8

const (
	unwanted ending = iota // no subscription is left
	lostAtOnce
	lostLater // all topics had been confirmed
)

// run is the hub's goroutine. It connects while there are subscriptions.
func (h *Hub) run() {
	failures := 0
	for {
		end, began := lostAtOnce, time.Now()
		conn, err := h.source.AcquireSubscriber(h.ctx)
		if err == nil {
			end = h.serve(conn)
		} else {
			h.unreachable(err)
		}
		if h.stop() {
			return
		}
		if end == unwanted {
			continue
		}
		if end == lostLater && time.Since(began) >= h.cfg.ReconnectCap {
			failures = 0 // a connection that breaks earlier counts as a failure
		}
		if h.pause(failures) {
			failures++
		}
	}
}

// stop reports whether the goroutine may end, and records that.
func (h *Hub) stop() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.wanted > 0 {
		return false
	}
	h.running = false
	h.clearTopicsLocked()
	return true
}

// pause waits before the next attempt. A new subscription ends the pause, because its caller needs the result of a
// dial; the pool limits the dials.
func (h *Hub) pause(failures int) (whole bool) {
	d := h.cfg.ReconnectCap
	if failures < 20 {
		d = min(d, h.cfg.ReconnectBase<<failures)
	}
	timer := time.NewTimer(d/2 + rand.N(d/2+1))
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			return true
		case <-h.wake:
			if h.hurries() {
				return false
			}
		case <-h.ctx.Done():
			return false
		}
	}
}

// hurries reports whether a call waits for the server, or no subscription is left.
func (h *Hub) hurries() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.calls > 0 || h.wanted == 0
}

// unreachable fails the waiting calls while the node is down.
func (h *Hub) unreachable(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if errors.Is(err, pool.ErrClosed) {
		h.shutLocked()
		return
	}
	waiting := map[*call]bool{}
	for _, topics := range h.topics {
		for _, t := range topics {
			for _, m := range t.members {
				for _, c := range m.calls {
					waiting[c] = true
				}
			}
		}
	}
	for c := range waiting {
		h.finishLocked(c, err)
	}
}

// serve uses one connection until it breaks or no subscription is left.
func (h *Hub) serve(conn *pool.Conn) ending {
	s := &session{conn: conn, lane: conn.Lane(), pinged: time.Now()}
	s.lane.OnPush(func(frame []byte) { h.receive(s, frame) }, true)
	h.open(s)
	var check, verdict <-chan time.Time
	period := h.checkPeriod()
	if period > 0 {
		ticker := time.NewTicker(period)
		defer ticker.Stop()
		check = ticker.C
	}
	for {
		raw, reason := h.next(s)
		if reason != "" {
			conn.Destroy(reason)
			return unwanted
		}
		s.send(raw)
		select {
		case <-h.wake:
		case now := <-check:
			h.mu.Lock()
			raw, err := h.checkLocked(s, now, period)
			h.mu.Unlock()
			if err != nil {
				s.lane.Fail(err)
			}
			s.send(raw)
		case <-conn.Suspicion():
			s.send(h.doubt(s))
			verdict = time.After(conn.Patience())
		case <-verdict:
			h.judge(s, conn.Patience())
		case <-h.ctx.Done():
		case <-s.lane.Done():
			end := h.lose(s)
			conn.Destroy("the subscriber connection was lost")
			return end
		}
	}
}

// checkPeriod returns the interval of the liveness check; 0: never.
func (h *Hub) checkPeriod() time.Duration {
	period := h.cfg.HealthCheck
	if limit := h.cfg.StallLimit; limit > 0 && (period <= 0 || limit < period) {
		period = limit
	}
	return period
}

// send does not wait for the server. If it cannot send, it fails the lane, because the hub already expects the reply.
func (s *session) send(raw []byte) {
	if len(raw) == 0 {
		return
	}
	if err := s.lane.Send(raw); err != nil {
		s.lane.Fail(err)
	}
}

// open makes s the current session and marks all topics for a request.
func (h *Hub) open(s *session) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.session = s
	for _, topics := range h.topics {
		for _, t := range topics {
			t.dirty = false
			h.touchLocked(t)
		}
	}
}

// next returns the bytes to send, or the reason why the connection is not needed any more.
func (h *Hub) next(s *session) (raw []byte, reason string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.closed {
		raw, alone := s.reauthLocked()
		if alone {
			return raw, ""
		}
		// Unsubscriptions are confirmed before the connection is returned.
		if raw = h.commandsLocked(s); h.wanted > 0 || len(s.sent) > 0 {
			return raw, ""
		}
	}
	h.session = nil
	h.clearTopicsLocked()
	if h.closed {
		return nil, "the client was closed"
	}
	return nil, "no subscription is left"
}

// lose records the loss of the connection.
func (h *Hub) lose(s *session) ending {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.session = nil
	h.losses++
	h.dirty = nil
	for _, topics := range h.topics {
		for name, t := range topics {
			t.dirty = false
			t.askAgain()
			h.loseLocked(t)
			if t.staying == 0 {
				delete(topics, name)
			}
		}
	}
	if s.settled {
		return lostLater
	}
	return lostAtOnce
}
