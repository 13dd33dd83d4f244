package discovery

import (
	"math/rand/v2"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/topology/sentinel"
)

const ping = "*1\r\n$4\r\nPING\r\n"

// sendLocked does not block: the writer sends the bytes.
func (l *link) sendLocked(raw []byte) {
	l.unsent = append(l.unsent, raw...)
	select {
	case l.kick <- struct{}{}:
	default:
	}
}

// write sends queued bytes until the link is closed. The close interrupts a blocked write.
func (l *link) write(conn Conn) {
	for {
		select {
		case <-l.gone:
			return
		case <-l.kick:
		}
		l.s.mu.Lock()
		raw := l.unsent
		l.unsent = nil
		l.s.mu.Unlock()
		if _, err := conn.Write(raw); err != nil {
			l.fail(err)
			return
		}
	}
}

// patrol pings a subscription, because nothing else detects a silent loss there: once per PingEvery, and at once when
// another connection is silent. It closes the subscription if nothing is read within QueryTimeout. It does not write
// itself, because a blocked write must not stop it.
func (l *link) patrol() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-l.gone:
			return
		case <-l.rearm:
		case <-timer.C:
		}
		l.s.mu.Lock()
		now := time.Now()
		if l.pingAt.IsZero() {
			l.pingAt = now.Add(jitter(l.s.cfg.PingEvery))
		}
		if !l.judgeAt.IsZero() && !now.Before(l.judgeAt) {
			l.judgeLocked()
		}
		if !now.Before(l.pingAt) {
			l.pingLocked()
		}
		next := l.pingAt
		if !l.judgeAt.IsZero() {
			next = l.judgeAt
		}
		l.s.mu.Unlock()
		timer.Reset(time.Until(next))
	}
}

// pingLocked pings, unless a reply is pending anyway.
func (l *link) pingLocked() {
	if l.closing || !l.judgeAt.IsZero() && l.dueLocked() {
		return
	}
	l.expectLocked()
	if !l.alone() && l.unsure == 0 {
		l.pings++
		l.sendLocked([]byte(ping))
	}
}

// expectLocked makes the patrol expect bytes from now on.
func (l *link) expectLocked() {
	now := time.Now()
	l.heardBefore = l.heard.Load()
	l.judgeAt = now.Add(min(l.s.cfg.QueryTimeout, l.s.cfg.PingEvery))
	l.pingAt = now.Add(jitter(l.s.cfg.PingEvery))
	select {
	case l.rearm <- struct{}{}:
	default:
	}
}

// dueLocked reports whether a reply is pending on a subscription.
func (l *link) dueLocked() bool { return l.alone() || l.unsure > 0 || l.pings > 0 }

// judgeLocked closes the link if no byte has arrived while a reply was pending.
func (l *link) judgeLocked() {
	l.judgeAt = time.Time{}
	switch {
	case l.closing:
	case l.dueLocked() && l.heard.Load() == l.heardBefore:
		l.silent = true
		l.failLocked(sentinel.ErrSilent)
	case l.unsure > 0:
		l.failLocked(errIgnored)
	}
}

// jitter returns a random time in the last quarter of d.
func jitter(d time.Duration) time.Duration {
	return d - time.Duration(rand.Int64N(int64(d/4)+1))
}
