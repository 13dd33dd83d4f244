package keywatch

import (
	"fmt"
	"testing"
	"time"
)

// cycle tracks keys again and again: each EXISTS takes a tenth of a millisecond and causes a push of all its keys. reply
// is the reply to EXISTS. It returns how many keys were sent within a time.
func cycle(keys int, within time.Duration, reply string) (sent int) {
	var c core
	c.init(time.Hour, time.Minute, func(n time.Duration) time.Duration { return n / 2 })
	for i := range keys {
		_ = c.watch(0, &Watch{sub: named("s")}, fmt.Sprint("k", i))
	}
	c.connect()
	_, r := c.next(0, nil)
	c.sent(r)
	_ = c.reply(0, []byte("+OK\r\n"))
	for now := time.Duration(0); now < within; {
		_, r := c.next(now, nil)
		if r == nil {
			now, _ = c.wakeAt()
			continue
		}
		c.sent(r)
		sent += len(r.keys)
		names := make([]string, len(r.keys))
		for i, k := range r.keys {
			names[i] = k.name
		}
		now += time.Millisecond / 10
		_ = c.reply(now, []byte(reply))
		_ = c.push(invalidation(names...))
		for _, n := range c.takeNotes() {
			n.watch.noted = false
		}
	}
	return sent
}

func TestKeysThatEvictEachOtherAreTrackedAtALimitedPace(t *testing.T) {
	const keys, seconds = 500, 3
	const most = vainFrom + keys + seconds*paceKeys*int(time.Second/pacePeriod)
	if n := cycle(keys, seconds*time.Second, ":0\r\n"); n > most || n < most*9/10 {
		t.Errorf("%d keys were tracked in %d s: want at most %d, and hardly fewer", n, seconds, most)
	}
}

func TestChangesThatLeaveAValueAreNotSlowedDown(t *testing.T) {
	const keys = 100
	if n, want := cycle(keys, time.Second/10, ":8\r\n"), keys*1000; n != want {
		t.Errorf("%d keys were tracked in 100 ms: want %d", n, want)
	}
}

func TestManyNewKeysAreNotSlowedDown(t *testing.T) {
	const keys = 100_000
	if n := cycle(keys, keys/mostKeys*time.Millisecond/10, ":0\r\n"); n != keys {
		t.Errorf("%d keys were tracked: want %d", n, keys)
	}
}

func TestFewChangesAreNotSlowedDown(t *testing.T) {
	p := pace{vain: vainMost}
	for now := time.Second; now < 2*time.Second; now += time.Millisecond {
		if n, _ := p.limit(now); n < 1 {
			t.Fatalf("at %v no key may be sent", now)
		}
		p.sent(5)
		p.replied(5, 0)
	}
}
