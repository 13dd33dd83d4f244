package pubsub

import (
	"errors"
	"math/rand/v2"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/pool"
)

// ending says how a connection ended.
type ending uint8

const (
	unwanted ending = iota // nothing is subscribed any more
	lostAtOnce
	lostLater // all had been confirmed before
)

// run is the hub's goroutine: it connects while there is anything wanted.
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
			failures = 0 // a connection that breaks sooner has not done well
		}
		if h.pause(failures) {
			failures++
		}
	}
}

// stop ends the goroutine if there is nothing to do for it.
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

// pause waits before another attempt. A new subscription cuts it short, since
// it has to be told at once if the node is down; the pool limits the dials.
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

// hurries reports whether somebody waits for the server, or nobody needs it any more.
func (h *Hub) hurries() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.calls > 0 || h.wanted == 0
}

// unreachable fails the calls that wait while the node is down.
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

// serve works on one connection until it breaks or nothing is wanted.
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

// checkPeriod is how often liveness is looked at; 0: never.
func (h *Hub) checkPeriod() time.Duration {
	period := h.cfg.HealthCheck
	if limit := h.cfg.StallLimit; limit > 0 && (period <= 0 || limit < period) {
		period = limit
	}
	return period
}

// send never waits for the server. What can't be sent condemns the lane,
// since its answer is already expected.
func (s *session) send(raw []byte) {
	if len(raw) == 0 {
		return
	}
	if err := s.lane.Send(raw); err != nil {
		s.lane.Fail(err)
	}
}

// open makes s the session; all topics have to be asked for.
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

// next gives what is to be sent, or why the connection is not needed any more.
func (h *Hub) next(s *session) (raw []byte, reason string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.closed {
		raw, alone := s.reauthLocked()
		if alone {
			return raw, ""
		}
		// What was unsubscribed is confirmed before the connection goes.
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

// lose takes in that the connection is gone.
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
