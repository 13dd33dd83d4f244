package keywatch

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/pool"
)

// runner is the state of a Watcher's goroutine, which acquires the connection, keeps the time and drops the connection.
type runner struct {
	w        *Watcher
	acquired chan acquisition   // of the attempt in flight; nil: none
	cancel   context.CancelFunc // of that attempt
	obsolete bool               // its connection may belong to another node
	failures int
	retryAt  time.Duration // no attempt before
	lost     bool          // a connection was lost since the last one opened

	doubted   *session      // a ping must be answered on it
	verdictAt time.Duration // by then
	heard     uint64        // its frames when it was doubted
}

type acquisition struct {
	conn *pool.Conn
	err  error
}

// Periods of the goroutine.
const (
	contentionPeriod = 10 * time.Millisecond // between two calls of Config.Contended
	noDeadline       = time.Duration(1<<63 - 1)
)

func (w *Watcher) run() {
	r := &runner{w: w, cancel: func() {}}
	timer := time.NewTimer(0)
	defer timer.Stop()
	stop := w.ctx.Done()
	for {
		at, ended := r.look()
		if ended {
			return
		}
		if at == noDeadline {
			timer.Stop()
		} else {
			timer.Reset(at - w.now())
		}
		var gone, suspicion <-chan struct{}
		if s := w.session; s != nil { // only this goroutine changes it
			gone, suspicion = s.lane.Done(), s.conn.Suspicion()
		}
		select {
		case <-timer.C:
		case <-w.wake:
		case <-gone:
		case <-suspicion:
			r.doubt()
		case a := <-r.acquired:
			r.take(a)
		case <-stop:
			stop = nil
		}
	}
}

// look ends expired timers and sends the next requests. It returns the time of its next call, and whether the goroutine
// has ended.
func (r *runner) look() (at time.Duration, ended bool) {
	w := r.w
	contended := r.contended()
	w.mu.Lock()
	now := w.now()
	var drop func()
	if w.session != nil {
		drop = r.checkLocked(now, w.session, contended)
	}
	if w.session == nil {
		r.seekLocked(now)
	}
	w.core.tick(now)
	if s := w.session; s != nil {
		s.postLocked()
	}
	at = r.deadlineLocked(now)
	w.wakesAt = at
	if ended = w.session == nil && r.acquired == nil && (w.closed || len(w.core.keys) == 0); ended {
		w.running = false
	}
	w.unlockAndFlush()
	if drop != nil {
		drop()
	}
	w.deliver()
	return at, ended
}

// contended calls Config.Contended if the connection is unused.
func (r *runner) contended() bool {
	w := r.w
	w.mu.Lock()
	unused := w.session != nil && len(w.core.keys) == 0
	w.mu.Unlock()
	return unused && w.cfg.Contended != nil && w.cfg.Contended()
}

// checkLocked ends the session if it must end. It returns a call to make without mu; nil: none.
func (r *runner) checkLocked(now time.Duration, s *session, contended bool) (drop func()) {
	w := r.w
	destroy := func(reason string) func() { return func() { s.conn.Destroy(reason) } }
	err := s.err
	if err == nil {
		err = s.lane.Err()
	}
	switch {
	case w.closed:
		drop = destroy("the client was closed")
	case err != nil:
		w.lastError, r.lost = err, true
		if now-s.born >= w.cfg.BackoffCap {
			r.failures = 0
		}
		r.pauseLocked(now)
		drop = func() {
			if !errors.Is(err, lane.ErrDraining) {
				s.lane.Fail(err)
			}
			s.conn.Destroy("the connection of the watched keys was lost")
		}
	case w.core.refusal != nil:
		drop = destroy("the server refuses to track keys")
	case w.renew:
		r.lost = true
		drop = destroy("the watched keys are tracked on another connection")
	case w.core.clean:
		drop = s.conn.Release
	default:
		return r.careLocked(now, s, contended)
	}
	w.session = nil
	w.core.disconnect()
	return drop
}

// careLocked pings, judges and ends a session that works. It returns a call to make without mu; nil: none.
func (r *runner) careLocked(now time.Duration, s *session, contended bool) (call func()) {
	w := r.w
	if len(w.core.keys) == 0 && (contended || now >= w.core.idleSince+w.cfg.Linger) {
		w.core.end()
	}
	if every := w.cfg.HealthCheck; every > 0 && now >= s.heardAt+every && !w.core.ending {
		s.pingLocked()
	}
	if r.doubted == s && now >= r.verdictAt {
		r.doubted = nil
		if s.heard == r.heard {
			return func() { s.lane.Fail(&lane.StallError{Silent: s.conn.Patience(), Reason: lane.NoPong}) }
		}
	}
	return nil
}

// doubt pings because another connection became silent.
func (r *runner) doubt() {
	w := r.w
	w.mu.Lock()
	if s := w.session; s != nil {
		r.doubted, r.heard, r.verdictAt = s, s.heard, w.now()+s.conn.Patience()
		s.pingLocked()
	}
	w.unlockAndFlush()
}

// seekLocked begins to acquire a connection if one is needed, and gives up if none is.
func (r *runner) seekLocked(now time.Duration) {
	w := r.w
	if w.renew {
		w.renew, r.retryAt, r.failures = false, 0, 0
		r.obsolete = r.acquired != nil
		r.cancel()
	}
	wanted := len(w.core.keys) > 0 && !w.closed
	if !wanted {
		r.cancel()
	}
	if !wanted || r.acquired != nil || now < r.retryAt {
		return
	}
	ctx, cancel := context.WithCancel(w.ctx)
	acquired := make(chan acquisition, 1)
	r.acquired, r.cancel, r.obsolete = acquired, cancel, false
	w.wg.Go(func() {
		conn, err := w.source.AcquireSubscriber(ctx)
		acquired <- acquisition{conn, err}
	})
}

// take begins a session on an acquired connection.
func (r *runner) take(a acquisition) {
	r.acquired = nil
	r.cancel()
	w := r.w
	w.mu.Lock()
	now := w.now()
	release := false
	switch {
	case errors.Is(a.err, pool.ErrClosed):
		w.shutLocked()
	case errors.Is(a.err, context.Canceled):
	case a.err != nil && refuses(a.err):
		w.lastError = a.err
		w.core.refuse(now, &RefusedError{Op: "HELLO 3", Err: a.err})
	case a.err != nil:
		w.lastError = a.err
		r.pauseLocked(now)
	case w.closed || r.obsolete || len(w.core.keys) == 0:
		release = true
	case a.conn.Lane().Conn().Protocol() < 3:
		release = true
		w.core.refuse(now, &RefusedError{Op: "HELLO 3", Err: errRESP2})
	default:
		r.openLocked(now, a.conn)
	}
	w.mu.Unlock()
	if release {
		a.conn.Release()
	}
}

func (r *runner) openLocked(now time.Duration, conn *pool.Conn) {
	w := r.w
	if r.lost {
		r.lost = false
		w.reconnects++
	}
	s := &session{w: w, conn: conn, lane: conn.Lane(), born: now, heardAt: now}
	w.session = s
	w.core.connect()
	s.lane.OnPush(s.push, false)
}

// pauseLocked delays the next attempt. The pauses double and are jittered.
func (r *runner) pauseLocked(now time.Duration) {
	d := r.w.cfg.BackoffCap
	if r.failures < 20 {
		d = min(d, r.w.cfg.BackoffBase<<r.failures)
	}
	r.failures++
	r.retryAt = now + d/2 + rand.N(d/2+1)
}

// deadlineLocked returns the time of the next look.
func (r *runner) deadlineLocked(now time.Duration) time.Duration {
	w := r.w
	at := noDeadline
	by := func(t time.Duration) { at = min(at, t) }
	if t, ok := w.core.wakeAt(); ok {
		by(t)
	}
	s := w.session
	if s == nil {
		if len(w.core.keys) > 0 && r.acquired == nil && !w.closed {
			by(r.retryAt)
		}
		return at
	}
	if r.doubted == s {
		by(r.verdictAt)
	}
	busy := w.core.flight.len() > 0
	if every := w.cfg.HealthCheck; every > 0 && busy {
		by(now + every)
	} else if every > 0 {
		by(s.heardAt + every)
	}
	if len(w.core.keys) == 0 && !busy { // else the reply wakes
		by(w.core.idleSince + w.cfg.Linger)
		if w.cfg.Contended != nil {
			by(now + contentionPeriod)
		}
	}
	return at
}
