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

// run is the link's goroutine. It connects while there are topics.
func (l *link) run() {
	failures := 0
	for {
		end, began := lostAtOnce, time.Now()
		conn, err := l.source.AcquireSubscriber(l.h.ctx)
		switch {
		case err == nil:
			end = l.serve(conn)
		case errors.Is(err, ErrRouteChanged):
			end = unwanted
			l.reroute()
		default:
			l.reroute()
			l.unreachable(err)
		}
		if l.stop() {
			return
		}
		if end == unwanted {
			continue
		}
		if end == lostLater && time.Since(began) >= l.h.cfg.ReconnectCap {
			failures = 0 // a connection that breaks earlier counts as a failure
		}
		if l.pause(failures) {
			failures++
		}
	}
}

// stop reports whether the goroutine may end, and removes the link then.
func (l *link) stop() bool {
	l.h.mu.Lock()
	defer l.h.mu.Unlock()
	if l.wanted > 0 {
		return false
	}
	l.clearLocked()
	delete(l.h.links, l.source)
	return true
}

// pause waits before the next attempt. A new subscription ends the pause, because its caller needs the result of a
// dial; the pool limits the dials.
func (l *link) pause(failures int) (whole bool) {
	d := l.h.cfg.ReconnectCap
	if failures < 20 {
		d = min(d, l.h.cfg.ReconnectBase<<failures)
	}
	timer := time.NewTimer(d/2 + rand.N(d/2+1))
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			return true
		case <-l.wake:
			if l.hurries() {
				return false
			}
		case <-l.h.ctx.Done():
			return false
		}
	}
}

// hurries reports whether a call waits for the server, or no topic is left.
func (l *link) hurries() bool {
	l.h.mu.Lock()
	defer l.h.mu.Unlock()
	return l.h.calls > 0 || l.wanted == 0
}

// unreachable fails the waiting calls while the node is down.
func (l *link) unreachable(err error) {
	h := l.h
	h.mu.Lock()
	defer h.mu.Unlock()
	if errors.Is(err, pool.ErrClosed) {
		h.shutLocked()
		return
	}
	waiting := map[*call]bool{}
	for t := range l.topicsLocked() {
		for _, m := range t.members {
			for _, c := range m.interest.calls {
				waiting[c] = true
			}
		}
	}
	for c := range waiting {
		h.finishLocked(c, err)
	}
}

// serve uses one connection until it breaks or no topic is left.
func (l *link) serve(conn *pool.Conn) ending {
	h := l.h
	s := &session{link: l, conn: conn, lane: conn.Lane(), pinged: time.Now()}
	s.lane.OnPush(func(frame []byte) { h.receive(s, frame) }, true)
	l.open(s)
	var check, verdict, retry <-chan time.Time
	period := h.checkPeriod()
	if period > 0 {
		ticker := time.NewTicker(period)
		defer ticker.Stop()
		check = ticker.C
	}
	for {
		raw, reason := l.next(s)
		if reason != "" {
			conn.Destroy(reason)
			return unwanted
		}
		s.send(raw)
		if retry == nil {
			retry = l.retryTimer()
		}
		select {
		case <-l.wake:
		case <-retry:
			retry = nil
			l.retryRefused()
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
			end := l.lose(s)
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
func (l *link) open(s *session) {
	l.h.mu.Lock()
	defer l.h.mu.Unlock()
	l.session = s
	for t := range l.topicsLocked() {
		t.dirty = false
		l.h.requestLocked(t)
	}
}

// next returns the bytes to send, or the reason why the connection is not needed any more.
func (l *link) next(s *session) (raw []byte, reason string) {
	h := l.h
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.closed {
		raw, alone := s.reauthLocked()
		if alone {
			return raw, ""
		}
		// Unsubscriptions are confirmed before the connection is returned.
		if raw = h.commandsLocked(s); l.wanted > 0 || len(s.sent) > 0 {
			return raw, ""
		}
	}
	l.session = nil
	l.clearLocked()
	if h.closed {
		return nil, "the client was closed"
	}
	return nil, "no subscription is left"
}

// lose records the loss of the connection.
func (l *link) lose(s *session) ending {
	h := l.h
	h.mu.Lock()
	defer h.mu.Unlock()
	l.session = nil
	h.losses++
	l.dirty, l.later = nil, nil
	for t := range l.topicsLocked() {
		t.dirty = false
		t.askAgain()
		h.loseLocked(t)
		if t.staying == 0 {
			h.deleteLocked(t)
		}
	}
	if s.settled {
		return lostLater
	}
	return lostAtOnce
}
