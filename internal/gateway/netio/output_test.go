package netio

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// oneByOne is a link that takes one piece, and the next one after writable.
type oneByOne struct {
	Link
	busy bool
}

func (l *oneByOne) write(b []byte) (int, error) {
	if l.busy {
		return 0, nil
	}
	l.busy = true
	return len(b), nil
}

func (l *oneByOne) await() {}

func TestAClientThatReadsSomethingIsNotSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &oneByOne{}
		o := Output{link: l, total: new(atomic.Int64)}
		for range 10 {
			o.Append(make([]byte, bigReply), true)
		}
		o.Flush()
		for range 8 {
			time.Sleep(time.Minute)
			l.busy = false
			o.writable()
			if size, since := o.Waiting(); size == 0 || time.Since(since) > 0 {
				t.Errorf("%d bytes wait, and nothing was taken for %v", size, time.Since(since))
			}
		}
	})
}
