package discovery

import (
	"math/rand/v2"
	"time"
)

const ping = "*1\r\n$4\r\nPING\r\n"

// sendLocked never waits: the writer does.
func (l *link) sendLocked(raw []byte) {
	l.unsent = append(l.unsent, raw...)
	select {
	case l.kick <- struct{}{}:
	default:
	}
}

// write sends what there is until the link is closed, which ends a write that blocks.
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

// patrol pings a subscription, on which nothing else would be noticed of an end
// without a word, and closes it when one period after a ping nothing was read. It does
// not write by itself: a write that blocks is no sign of life either.
func (l *link) patrol() {
	every := l.s.cfg.PingEvery
	timer := time.NewTimer(jitter(every))
	defer timer.Stop()
	var heard uint64 // when it was pinged last
	pinged, unsure := false, false
	for {
		select {
		case <-l.gone:
			return
		case <-timer.C:
		}
		timer.Reset(jitter(every))
		now := l.heard.Load()
		l.s.mu.Lock()
		switch {
		case l.closing:
		case pinged && now == heard:
			l.failLocked(errSilent)
		case unsure && l.unsure > 0:
			l.failLocked(errIgnored)
		case !l.alone():
			l.pings++
			l.sendLocked([]byte(ping))
		}
		heard, pinged, unsure = now, true, l.unsure > 0
		l.s.mu.Unlock()
	}
}

// jitter draws from the last quarter of d.
func jitter(d time.Duration) time.Duration {
	return d - time.Duration(rand.Int64N(int64(d/4)+1))
}
