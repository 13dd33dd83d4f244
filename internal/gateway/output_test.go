package gateway

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// oneByOne is a link that takes one piece, and the next once the output is told that there is room again.
type oneByOne struct {
	link
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

func TestAClientThatTakesSomethingIsNotSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &oneByOne{}
		o := output{link: l, total: new(atomic.Int64)}
		for range 10 {
			o.append(make([]byte, bigReply), true)
		}
		o.flush()
		for range 8 {
			time.Sleep(time.Minute)
			l.busy = false
			o.writable()
			if size, since := o.waiting(); size == 0 || time.Since(since) > 0 {
				t.Errorf("%d bytes wait, and nothing was taken for %v", size, time.Since(since))
			}
		}
	})
}
